"""What lies below the text: the panels of an expert, of the layer, and of other rules and routings."""

from dataclasses import dataclass

import streamlit as st

from explorer.figures import specialisation
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm, Run
from explorer.figures.probe_batch import RoutedBatch, routed_batch
from explorer.figures.store import Trace
from explorer.figures.views import microscope as view
from explorer.figures.views.microscope import NO_EXPERT, MicroscopeSettings, Probes
from explorer.ui.components.token_text.component import ALL
from explorer.ui.microscope import agreement, counterfactual, expert, following, layer
from explorer.ui.shared import state
from explorer.ui.shared.store import STORE


def settings_now(run: Run, batch: RoutedBatch) -> MicroscopeSettings:
    """What the widgets say."""
    marked = state.text("expert")
    return MicroscopeSettings(
        run=run.run_id,
        probe=batch.step,
        layer=batch.layer,
        token=state.number("token"),
        expert=None if marked == NO_EXPERT else int(marked),
        colour="all" if state.value("colour") == ALL else "first",
    )


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of one run's page; probe, layer and expert are those of the controls."""

    run: Run
    probes: dict[str, Probes]
    """By run id."""
    arms: tuple[Arm, ...]
    runs: tuple[Run, ...]
    """All that keep a probe."""

    def draw(self) -> None:
        """Every part, each in a fragment of its own."""
        draws = (self._expert, self._domains, self._saturation, self._replay, self._agreement)
        for part, draw in zip(following.PARTS, draws, strict=True):
            st.fragment(draw, key=following.fragment_of(part))()

    @property
    def _arm_set(self) -> ArmSet:
        return ArmSet.of(self.arms)

    def _step_and_layer(self) -> tuple[int, int]:
        return state.number("probe"), state.number("layer")

    def _expert(self) -> None:
        batch = routed_batch(Trace(STORE), self.run, *self._step_and_layer())
        if batch is None:
            following.place(following.EXPERT, ())
            return
        settings = settings_now(self.run, batch)
        expert_values = view.shown_expert(settings, batch)
        with following.place(following.EXPERT, view.expert_questions(self.run, settings, expert_values)):
            is_ordered = batch.logits is not None
            is_marked = settings.expert is not None
            expert.section(self.run, settings, expert_values, is_marked=is_marked, is_ordered=is_ordered)

    def _domains(self) -> None:
        _, at = self._step_and_layer()
        layer_settings = specialisation.with_domain_loads(STORE, self._arm_set, at)
        with following.place(following.DOMAINS, view.domain_questions(layer_settings, self._arm_set, at)):
            layer.domains_by_method(self.arms, at)

    def _saturation(self) -> None:
        _, at = self._step_and_layer()
        with following.place(following.SATURATION, [view.saturation_question(self.run, at)]):
            layer.saturation(self.run, at)

    def _replay(self) -> None:
        # It enters its own questions: those of a closed section.
        with following.place(following.REPLAY, ()):
            counterfactual.section(self.run, *self._step_and_layer())

    def _agreement(self) -> None:
        with following.place(following.AGREEMENT, ()):
            agreement.section(self.runs, self.run, self.probes, *self._step_and_layer())
