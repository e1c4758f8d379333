"""Layers that are shifted: a trace that counts MoE layers from 0 beside one that counts the dense layers
before them. Compared with another run of the same model: does layer i look like its layer i + d rather than
like its layer i? Loads of one layer are alike between runs of a model, and unlike those of its other layers.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.importers.report import Report
from explorer.importers.trace import LoadStep
from explorer.recording import RunFolder

FARTHEST = 8
CLEARLY = 0.05
"""So much larger a cosine must be before a shift is called better."""
Profiles = Mapping[int, NDArray[np.float64]]
"""Layer -> loads of its experts minus their mean, of length 1."""


def compared_steps(
    steps: Iterable[LoadStep], layers: Sequence[int], reference: Path, report: Report
) -> Iterator[LoadStep]:
    """The same steps; how well the layers fit those of the reference is in the report after the last one.

    Raises UnreadableRunError where the reference is no run.
    """
    run = RunFolder(reference)
    reference_profiles = _profiles_of(run, run.info.layer_numbers)
    total: NDArray[np.int64] | None = None
    for step in steps:
        total = step.tokens_LE.copy() if total is None else total + step.tokens_LE
        yield step
    if total is not None:
        own = {layer: _profile(row.astype(float)) for layer, row in zip(layers, total, strict=True)}
        _report(own, reference_profiles, reference.name, report)


def fits(own: Profiles, reference: Profiles) -> dict[int, float]:
    """Shift d -> mean cosine of layer i with layer i + d, for shifts that leave at least half of the
    layers."""
    result = {}
    for shift in range(-FARTHEST, FARTHEST + 1):
        pairs = [(own[layer], reference[layer + shift]) for layer in own if layer + shift in reference]
        pairs = [(a, b) for a, b in pairs if len(a) == len(b)]
        if 2 * len(pairs) >= len(own):
            result[shift] = float(np.mean([a @ b for a, b in pairs]))
    return result


def _report(own: Profiles, reference: Profiles, name: str, report: Report) -> None:
    fit = fits(own, reference)
    if not fit:
        report.warning(
            "no_reference", f"The layers of {name} cannot be compared: too few of the same number and width."
        )
        return
    best = max(fit, key=lambda shift: (fit[shift], -abs(shift)))
    plain = fit.get(0, -1.0)
    if best and fit[best] - plain > CLEARLY:
        report.warning(
            "shifted_layers",
            f"Layer i fits layer i{best:+d} of {name} better than its layer i (cosine {fit[best]:.2f}, not "
            f"{plain:.2f}): the layers are shifted, as by dense layers that one of the two does not count. "
            f"--option layer_offset={max(best, 0)} or layers=… names them.",
            shift=best,
            cosine=fit[best],
            cosine_unshifted=plain,
        )
    else:
        report.note(
            "layers_fit",
            f"The layers fit those of {name} without a shift (cosine {plain:.2f}).",
            cosine=plain,
        )


def _profile(row: NDArray[np.float64]) -> NDArray[np.float64]:
    centred: NDArray[np.float64] = row - row.mean()
    length = float(np.linalg.norm(centred))
    if length:
        centred /= length
    return centred


def _profiles_of(run: RunFolder, layers: Sequence[int]) -> Profiles:
    loads = run.read("expert_loads", ["layer", "expert", "tokens"])
    sums = loads.group_by("layer", "expert").agg(pl.col("tokens").sum()).sort("layer", "expert")
    return {
        int(rows["layer"][0]): _profile(rows["tokens"].to_numpy().astype(float))
        for rows in sums.partition_by("layer")
        if int(rows["layer"][0]) in layers
    }
