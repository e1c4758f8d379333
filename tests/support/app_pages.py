"""The app without a browser, and what tests read off its pages."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from store_runs import write_run
from streamlit.testing.v1 import AppTest

from explorer.config.presets import get_preset, preset_balancer
from explorer.config.run import RunConfig
from explorer.ui.server.services import services
from explorer.ui.shared.panels import KEY, PageFigures

ROOT = Path(__file__).parents[2]
MAIN = ROOT / "explorer" / "ui" / "main.py"
SHIPPED = ROOT / "data" / "runs"
ARMS = {
    "none": "none",
    "aux_loss:scope=sequence": "sequence",
    "aux_loss": "global",
    "loss_free": "loss_free",
}
TIMEOUT_S = 120
"""Not a goal: a busy machine must not fail a test."""


def arm_info(text: str, seed: int, base: RunConfig | None = None) -> dict[str, object]:
    """What run.json says of a run with this balancer."""
    config = base or get_preset("tiny")
    balancer = preset_balancer("tiny", text)
    return {
        "balancer": str(balancer),
        "balancer_label": balancer.label,
        "balancer_family": balancer.family,
        "count_scope": balancer.count_scope,
        "seed": seed,
        "preset": "tiny",
        "pair_key": config.pair_key,
        "config": config.to_dict(),
        "created_at": f"2026-11-22T10:00:0{seed}.000+00:00",
    }


def write_arms(folder: Path, seeds: tuple[int, ...] = (0, 1)) -> None:
    """Four arms with every seed, 24 steps each."""
    for text, name in ARMS.items():
        for seed in seeds:
            info = arm_info(text, seed)
            del info["seed"]
            write_run(folder, f"{name}-seed{seed}", steps=24, seed=seed, bias=text == "loss_free", **info)


Opener = Callable[..., AppTest]


def use_folders(
    monkeypatch: pytest.MonkeyPatch, shipped: Path | None, base: Path, own: Path | None = None
) -> None:
    """The app reads these shipped runs; its index lies in `base`, and so do its own runs by default."""
    monkeypatch.setenv("EXPLORER_SHIPPED_RUNS", str(shipped or base / "nothing"))
    monkeypatch.setenv("EXPLORER_RUNS", str(own or base / "own"))
    monkeypatch.setenv("EXPLORER_INDEX", str(base / "index.duckdb"))


def opened(page: str, query: dict[str, object]) -> AppTest:
    """A page, run once, after the runs have been read."""
    owner = services()
    while owner.ingest.rounds == 0:
        time.sleep(0.02)
    app = AppTest.from_file(str(MAIN), default_timeout=TIMEOUT_S)
    for name, value in query.items():
        app.query_params[name] = value  # type: ignore[assignment]
    if page != "overview":
        # The page must be known before the first run: that run is the deep link.
        app.switch_page(f"../../pages/{page}.py")
    return app.run()


def words(app: AppTest) -> str:
    """Every text of the page: title, headings, paragraphs, captions and messages; spaces that break no line
    (`ui.shared.plain`) are spaces here."""
    kinds = (
        app.title,
        app.header,
        app.subheader,
        app.markdown,
        app.caption,
        app.info,
        app.warning,
        app.error,
    )
    return "\n".join(str(element.value) for kind in kinds for element in kind).replace("\u00a0", " ")


def charts(app: AppTest) -> int:
    """Altair figures on the page."""
    return len(app.get("vega_lite_chart"))


def load_maps(app: AppTest) -> list[dict[str, Any]]:
    """What the heatmaps that are drawn on a canvas were sent."""
    protos = [element.proto for element in app.get("bidi_component")]
    return [json.loads(proto.json) for proto in protos if proto.component_name.endswith("moe_load_map")]


def text_tables(app: AppTest) -> list[pl.DataFrame]:
    """The tables of the component `text_table`, as texts."""
    protos = [element.proto for element in app.get("bidi_component")]
    sent = [json.loads(proto.json) for proto in protos if proto.component_name.endswith("moe_text_table")]
    return [pl.DataFrame(data["rows"], schema=data["columns"], orient="row") for data in sent]


def terms_html(app: AppTest) -> str:
    """The HTML of the Glossary's terms."""
    protos = [element.proto for element in app.get("bidi_component")]
    (html,) = [proto.html_content for proto in protos if proto.component_name.endswith("moe_terms")]
    return str(html)


def figures_of(app: AppTest) -> PageFigures:
    """The figures that the page has registered for its export."""
    figures: PageFigures = app.session_state[KEY]
    return figures


def max_vio_sentence(app: AppTest) -> str:
    """The Playground's sentence about MaxVio."""
    return next(m.value for m in app.markdown if m.value.startswith("A: "))
