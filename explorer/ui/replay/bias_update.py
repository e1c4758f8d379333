"""The bias update after the step of the playhead."""

from explorer.figures import biases
from explorer.figures.arms import Run
from explorer.figures.views.replay import BESIDE_PLAYER_BINS, ReplaySettings
from explorer.queries import biases as queries
from explorer.ui.shared import bias_step, store


def section(run: Run, settings: ReplaySettings) -> None:
    """The update of the selected expert, else of the one with the highest bias; nothing without biases."""
    frame = store.ask(queries.bias_trajectories, run, settings.layer, BESIDE_PLAYER_BINS)
    if frame.is_empty():
        return
    expert = next(iter(biases.extremes(frame)), 0) if settings.expert is None else settings.expert
    bias_step.section(run, settings.layer, settings.step, expert, is_selected=settings.expert is not None)
