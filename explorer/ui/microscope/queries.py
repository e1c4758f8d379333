"""What the Microscope asks, remembered as in `explorer.ui.cached`: by the version of a run."""

from pathlib import Path
from typing import Any

import polars as pl

from explorer.errors import ExplorerError
from explorer.queries import probe, specialisation
from explorer.queries.probe import LayerProbe
from explorer.recording import RunFolder
from explorer.ui.shared.cached import Version, _ask, _cached


@_cached
def probes(runs: tuple[Version, ...]) -> dict[str, list[tuple[int, bool]]]:
    """run_id -> its probes: after how many updates, and whether a bias took part; in order."""
    known = {run[0] for run in runs}
    found: dict[str, list[tuple[int, bool]]] = {}
    for run_id, step, has_bias in _ask(probe.probes).rows():
        if run_id in known:
            found.setdefault(run_id, []).append((step, bool(has_bias)))
    return found


@_cached
def layer_probe(run: Version, step: int, layer: int) -> LayerProbe | None:
    return _ask(probe.layer_probe, run[0], step, layer)


@_cached
def coactivation(run: Version, layer: int, step: int) -> pl.DataFrame:
    return _ask(specialisation.coactivation, run[0], layer, step)


@_cached
def cross_activation(run: Version, layer: int, other: int, step: int) -> pl.DataFrame:
    return _ask(specialisation.cross_activation, run[0], layer, other, step)


@_cached
def saturation(run: Version) -> pl.DataFrame:
    return _ask(specialisation.saturation, run[0])


@_cached
def last_specialisation(run: Version, layer: int) -> pl.DataFrame:
    """The row of the last evaluation, or none."""
    return _ask(specialisation.specialisation, run[0], layer).tail(1)


@_cached
def document(run: Version, path: str) -> dict[str, Any] | None:
    """probe.json of a run folder; None where there is none that can be read."""
    try:
        found = RunFolder(Path(path)).document("probe")
    except (ExplorerError, OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
