"""One sample of every chart, and readers of specifications and pictures."""

import io
import json
import re
from collections.abc import Callable
from typing import Any

import chart_frames as frames
import numpy as np
from PIL import Image

from explorer.charts import (
    balance,
    biases,
    differences,
    domains,
    evidence,
    heatmaps,
    loads,
    losses,
    plane,
    story,
    theme,
)

ENDS = {"none": 3.0, "aux": 1.0, "lf": 0.2}
LABELS = {
    "none": "no balancing",
    "aux": "auxiliary loss α=0.01 (sequence scope)",
    "lf": "loss-free u=0.003 (global batch scope)",
}
FAMILIES = {"none": "none", "aux": "aux_loss", "lf": "loss_free"}
FIGURES: dict[str, Callable[[], theme.Figure]] = {
    "load_heatmap": lambda: heatmaps.load_heatmap(frames.heat_frame(), playhead=2, title="Layer 0"),
    "compare_heatmaps": lambda: heatmaps.compare_heatmaps(
        {"a": frames.heat_frame(), "b": frames.heat_frame(9)}
    ),
    "load_bars": lambda: loads.load_bars(frames.loads_frame([2.0, 0.0, 1.0])),
    "bias_trajectories": lambda: biases.bias_trajectories(
        frames.bias_frame({0: 1.5, 1: -0.2}), highlight=[0]
    ),
    "max_vio_curves": lambda: balance.max_vio_curves(
        frames.vio_frame(ENDS),
        labels=LABELS,
        families=FAMILIES,
        references=frames.REFERENCES,
        playhead=12,
        mean100=True,
    ),
    "loss_curves": lambda: losses.loss_curves(
        frames.loss_frame(ENDS), frames.eval_frame(ENDS), labels=LABELS, families=FAMILIES
    ),
    "dilemma_plane": lambda: plane.dilemma_plane(frames.summary_frame(frames.SWEEP), reference=0.05),
    "paired_differences": lambda: differences.paired_differences(frames.DIFFERENCES),
    "domain_expert_heatmap": lambda: domains.domain_expert_heatmap(frames.domain_frame()),
    "evidence_comparisons": lambda: evidence.comparisons(frames.COMPARISONS),
    "evidence_verdicts": lambda: evidence.verdict_tiles(frames.VERDICTS),
    "story": lambda: story.story(frames.vio_frame(ENDS), labels=FAMILIES, families=FAMILIES, reference=0.05),
}


def rows_of(figure: theme.Figure) -> list[dict[str, Any]]:
    """Every row of data in the figure."""
    return [row for rows in figure.to_dict()["datasets"].values() for row in rows]


def structure_of(figure: theme.Figure) -> str:
    """The specification without its datasets, which are named by their digests."""
    spec = figure.to_dict()
    spec.pop("datasets")
    return re.sub(r"data-[0-9a-f]+", "DATA", json.dumps(spec, sort_keys=True))


def for_file(figure: theme.Figure, *, width: int = 900, dark: bool = False) -> theme.Figure:
    """A chart of a fixed width with the look of a file, as the export gives it to a panel."""
    return figure.copy(deep=True).properties(
        width=width, background=theme.file_background(dark), padding=12, config=theme.file_config(dark=dark)
    )


def pixels(figure: theme.Figure, *, dark: bool = False, width: int = 400) -> np.ndarray:
    file = io.BytesIO()
    for_file(figure, width=width, dark=dark).save(file, format="png", ppi=72)
    return np.asarray(Image.open(file).convert("RGB")).astype(int)
