"""The Microscope: one probe batch in one layer, one token and one expert of it, and domains by method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from explorer.charts.mechanism_words import HOW_TO_PROBE
from explorer.figures import experts, probe, specialisation
from explorer.figures import probe_sentences as sentences
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm, Run
from explorer.figures.panel import Question
from explorer.figures.probe_batch import RoutedBatch, routed_batch
from explorer.figures.settings import OneLayer
from explorer.figures.store import Store, Trace
from explorer.figures.two_routings import Side
from explorer.figures.views import agreement_choice, choice, counterfactual_choice
from explorer.figures.views.address import Address
from explorer.figures.views.agreement_choice import Offer, Values
from explorer.figures.views.selection import RUNS, default_run, picked_first, selected_arms
from explorer.figures.views.view import OpenView, Query
from explorer.queries.probe import probes as probes_of

TITLE = "Router microscope"
KEYS = ("run", "probe", "layer", "token", "expert", "colour")
"""Settings that the address names."""
NO_EXPERT = "all"
"""The value of `expert` in an address that marks none."""
NO_PROBE = (
    f"No run here keeps a probe batch, the tokens whose scores this page shows. {HOW_TO_PROBE} Of the "
    "shipped runs, seed 0 of each of the four main rules does."
)
Colour = Literal["first", "all"]
Probes = list[tuple[int, bool]]
"""Updates before each probe of a run, and whether a bias was applied; ascending."""


@dataclass(frozen=True, kw_only=True)
class MicroscopeSettings:
    """The state of the page, as its address says it."""

    run: str
    probe: int
    """Updates before the probe."""
    layer: int
    token: int
    expert: int | None = None
    """The marked expert."""
    colour: Colour = "first"
    """Colour of a token in the text: by its first choice or by all of its experts."""

    @property
    def query(self) -> Query:
        """The address of this state."""
        expert = NO_EXPERT if self.expert is None else str(self.expert)
        values = (self.run, self.probe, self.layer, self.token, expert, self.colour)
        return {name: (str(value),) for name, value in zip(KEYS, values, strict=True)}


def runs_with_probe(
    store: Store, runs: Sequence[Run], arms: Sequence[Arm]
) -> tuple[list[Run], dict[str, Probes]]:
    """Runs that keep a probe batch, those of the picked arms first, and their probes by run id."""
    usable = [run for run in runs if run.has_loads]
    probes: dict[str, Probes] = {}
    for run_id, step, has_bias in Trace(store).ask(probes_of, usable).rows():
        probes.setdefault(run_id, []).append((step, bool(has_bias)))
    return picked_first([run for run in usable if run.run_id in probes], arms), probes


def default_probe(probes: Probes, last_step: int) -> int:
    """The latest probe with a bias and a training step after it, whose update can be shown; else the last."""
    steps = [step for step, has_bias in probes if has_bias and step <= last_step]
    return steps[-1] if steps else probes[-1][0]


def default_token(store: Store, run: Run, probes: Probes) -> int:
    """The first whole word whose experts the bias changes, in the first layer at the default probe."""
    step = default_probe(probes, run.last_step)
    batch = routed_batch(Trace(store), run, step, run.layers[0])
    moved = None if batch is None else batch.moved
    if batch is None or moved is None or not moved.any():
        return 0
    for token in np.flatnonzero(moved).tolist():
        word = batch.text.texts[token]
        if word.startswith(" ") and word[1:].isalpha() and len(word) > 3:
            return int(token)
    return int(np.argmax(moved))


def shown_expert(settings: MicroscopeSettings, batch: RoutedBatch) -> int:
    """The marked expert, else the one with the most first choices.

    Not an expert of the selected token: all panels of an expert would change with every token.
    """
    return sentences.most_frequent(batch)[0] if settings.expert is None else settings.expert


def token_question(run: Run, settings: MicroscopeSettings) -> Question:
    """The scores of the selected token."""
    at = probe.ProbeToken(
        step=settings.probe, layer=settings.layer, token=settings.token, expert=settings.expert
    )
    return Question(key="microscope_token", build=probe.token_scores, arms=ArmSet.of_runs([run]), settings=at)


def expert_questions(run: Run, settings: MicroscopeSettings, expert: int) -> tuple[Question, ...]:
    """The six panels of one expert, in the order of the page."""
    at = probe.ProbeExpert(step=settings.probe, layer=settings.layer, expert=expert)
    builds = {
        "microscope_texts": probe.expert_tokens,
        "microscope_domains": probe.expert_domains,
        "microscope_company": probe.coselected_experts,
        "microscope_onward": probe.across_layers,
        "microscope_load": experts.load_history,
        "microscope_bias": experts.bias_history,
    }
    arms = ArmSet.of_runs([run])
    return tuple(Question(key=key, build=build, arms=arms, settings=at) for key, build in builds.items())


def domain_questions(with_loads: ArmSet, arms: ArmSet, layer: int) -> tuple[Question, ...]:
    """Load by domain, one panel per arm; with_loads: of `specialisation.with_domain_loads` among `arms`."""
    settings = specialisation.ByMethod.of(arms, layer)
    return tuple(
        Question(
            key=f"figure_nine_{arm.token}",
            build=specialisation.load_by_domain,
            arms=with_loads.only([arm]),
            settings=settings,
        )
        for arm in with_loads
    )


def saturation_question(run: Run, layer: int) -> Question:
    """Router saturation of all layers, one of them bold."""
    settings = OneLayer(layer=layer)
    return Question(
        key="microscope_settling", build=probe.saturation, arms=ArmSet.of_runs([run]), settings=settings
    )


def agreement_offer(runs: Sequence[Run], run: Run, probes: Mapping[str, Probes], step: int) -> Offer:
    """The routings that the probe of the page can be compared with; runs: those that keep a probe."""
    return Offer(
        runs=tuple(runs),
        probes={run_id: [after for after, _ in steps] for run_id, steps in probes.items()},
        biased=frozenset(run_id for run_id, steps in probes.items() if any(biased for _, biased in steps)),
        fixed=Side(run_id=run.run_id, step=step),
    )


def agreement_questions(offer: Offer, values: Values, layer: int) -> dict[str, Question]:
    """The panels on two routings of the same tokens."""
    return agreement_choice.questions("microscope", offer, values, layer)


def replay_questions(run: Run, values: choice.Values, step: int, layer: int) -> dict[str, Question]:
    """The panels of the same probe under another rule."""
    return counterfactual_choice.questions(run, counterfactual_choice.settings_of(values, step, layer))


def read(
    store: Store, run: Run, probes: Probes, address: Address
) -> tuple[MicroscopeSettings, RoutedBatch | None]:
    """The settings that an address asks for in this run, and the batch that they show, if it is recorded."""
    steps = [step for step, _ in probes]
    probed_after = ", ".join(map(str, steps))
    settings = MicroscopeSettings(
        run=run.run_id,
        probe=address.choice(
            "probe",
            steps,
            default_probe(probes, run.last_step),
            f"the run was probed after {probed_after} updates",
        ),
        layer=address.layer(run.layers, "this run"),
        token=0,
        colour=address.choice("colour", get_args(Colour), "first", "it can be first or all"),
    )
    batch = routed_batch(Trace(store), run, settings.probe, settings.layer)
    if batch is None:
        return settings, None
    last = batch.num_tokens - 1
    token = address.number("token", 0, last, min(default_token(store, run, probes), last))
    names = [NO_EXPERT, *map(str, range(batch.num_experts))]
    expert = address.choice("expert", names, NO_EXPERT, f"the experts are 0 to {batch.num_experts - 1}")
    return replace(settings, token=token, expert=None if expert == NO_EXPERT else int(expert)), batch


def open_view(store: Store, runs: Sequence[Run], query: Query) -> OpenView:
    """See `views.view.Opener`."""
    address = Address(query)
    arms = selected_arms(runs, address)
    usable, probes = runs_with_probe(store, runs, arms.arms)
    if not usable:
        return OpenView(title=TITLE, questions=(), notices=(*address.notices, NO_PROBE))
    by_id = {run.run_id: run for run in usable}
    run_id = address.choice(
        "run", list(by_id), default_run(usable).run_id, "that run is not here or keeps no probe batch"
    )
    run = by_id[run_id]
    settings, batch = read(store, run, probes[run_id], address)
    questions: list[Question] = []
    if batch is not None:
        questions.append(token_question(run, settings))
        questions += expert_questions(run, settings, shown_expert(settings, batch))
    else:
        address.notices.append(probe.not_recorded(settings.probe, settings.layer))
    with_loads = specialisation.with_domain_loads(store, arms, settings.layer)
    questions += domain_questions(with_loads, arms, settings.layer)
    questions.append(saturation_question(run, settings.layer))
    choices = counterfactual_choice.choices_of([run], settings.layer)
    changes = counterfactual_choice.offer_of([run], settings.layer)
    what_if = choice.read(address, choices, changes)
    questions += replay_questions(run, what_if, settings.probe, settings.layer).values()
    offer = agreement_offer(usable, run, probes, settings.probe)
    values = agreement_choice.read(address, offer)
    questions += agreement_questions(offer, values, settings.layer).values()
    return OpenView(
        title=TITLE,
        questions=tuple(questions),
        notices=tuple(address.notices),
        query={
            RUNS: tuple(arm.token for arm in arms),
            **settings.query,
            **agreement_choice.query_of(values, offer),
            **counterfactual_choice.query_of(what_if, choices, changes),
        },
    )
