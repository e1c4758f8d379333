"""The available animations: the replay of one layer."""

from explorer.export.film import Film
from explorer.figures.arms import Run
from explorer.figures.store import Store, Trace
from explorer.queries import loads as queries


def of_layer(store: Store, run: Run, layer: int, *, key: str) -> Film:
    """The load of every expert of a layer over all recorded steps. key: the panel that it animates."""
    matrix = Trace(store).ask(queries.load_matrix, run, layer)
    return Film(
        key=key,
        title=f"{run.label}, seed {run.seed}" if run.seed is not None else run.label,
        subtitle=f"Expert load of MoE layer {layer} ({run.of_layers})",
        steps=matrix.steps,
        tokens=matrix.tokens,
    )
