"""Runs as the app offers them: single runs, and arms (one balancing rule over several seeds)."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from explorer.figures.load_kind import OF_TRAINING, KindOfLoads
from explorer.figures.rule_names import NO_BALANCING, legend_of, short_rule
from explorer.recording.info import given_name
from explorer.recording.stated_rules import NOT_STATED
from explorer.wording import counted

MOST = 6
"""Runs or arms that one picture still carries."""
MOST_OF_NAME = 40
"""Letters of a run's name in a legend."""
STORY = ("none", "aux_loss:scope=sequence", "aux_loss", "loss_free")
"""The arms that tell the story, in this order, where a set of runs has them."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as the pages use it; see the table `runs` in docs/schema.md."""

    run_id: str
    path: str
    name: str
    """As a person gave it; empty where it says no more than id, or label and seed."""
    state: str
    shipped: bool
    preset: str | None
    seed: int | None
    balancer: str
    label: str
    family: str
    scope: str
    pair_key: str
    corpus_digest: str = ""
    """Digest of the text; empty if it is not recorded."""
    config: str
    num_moe_layers: int
    num_experts: int
    top_k: int
    tokens_per_step: int
    num_steps: int
    last_step: int
    generation: int
    created_at: str
    problem: str | None
    message: str | None
    layer_numbers: tuple[int, ...] | None = None
    """The model's own numbers of its MoE layers; None: 0 to L - 1."""
    experts_per_layer: tuple[int, ...] | None = None
    """Experts of each MoE layer where they differ; None: E in all of them."""
    kind_of_loads: KindOfLoads = OF_TRAINING
    is_imported: bool = False
    """Whether another system wrote the trace."""

    @property
    def layers(self) -> Sequence[int]:
        """The MoE layers by number, ascending."""
        return range(self.num_moe_layers) if self.layer_numbers is None else self.layer_numbers

    def width(self, layer: int) -> int:
        """Experts of this layer."""
        widths = self.experts_per_layer
        return self.num_experts if widths is None else widths[self.layers.index(layer)]

    @property
    def sizes(self) -> str:
        """`4 MoE layers of 16 experts, 2 per token`."""
        widths = self.experts_per_layer
        experts = counted(self.num_experts, "expert")
        if widths is not None:
            experts = f"{min(widths)} to {max(widths)} experts"
        return f"{counted(self.num_moe_layers, 'MoE layer')} of {experts}, {self.top_k} per token"

    @property
    def of_layers(self) -> str:
        """`of 4`, and which ones where they are not counted from 0: `of 3: 3, 5, 9`."""
        if self.layer_numbers is None or list(self.layers) == list(range(self.num_moe_layers)):
            return f"of {self.num_moe_layers}"
        return f"of {self.num_moe_layers}: {', '.join(map(str, self.layers))}"

    @property
    def version(self) -> tuple[str, int, int, str]:
        """Changes whenever the index may know more of the run: the key of every cache."""
        return (self.run_id, self.generation, self.last_step, self.state)

    @property
    def title(self) -> str:
        """Its given name, shortened; empty without one."""
        return shortened_name(self.name)

    @property
    def short(self) -> str:
        """The short name of its rule, or its label if that differs from the rule's text form."""
        return short_rule(self.balancer, self.label)

    @property
    def experiment(self) -> tuple[str, ...]:
        """Digests of configuration and text, and the kind of loads: equal for runs that may be paired."""
        return (self.pair_key, self.corpus_digest, *self.kind_of_loads)

    @property
    def is_readable(self) -> bool:
        return self.problem is None

    @property
    def is_running(self) -> bool:
        """Whether it may still grow."""
        return self.is_readable and self.state == "running"

    @property
    def has_steps(self) -> bool:
        """Whether there is anything to show of it; a dense model has steps and no loads."""
        return self.is_readable and self.last_step >= 0

    @property
    def has_loads(self) -> bool:
        return self.has_steps and self.num_moe_layers > 0 and not self.kind_of_loads.is_placement


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One entry of the run picker: a run, or the seeds of one balancing rule."""

    token: str
    """Its name in the run picker and the address."""
    label: str
    """Its legend label, count scope included."""
    runs: tuple[Run, ...]
    """By seed."""

    @property
    def first(self) -> Run:
        """The run that stands for the arm where only one can be drawn."""
        return self.runs[0]

    @property
    def family(self) -> str:
        return self.first.family

    @property
    def run_ids(self) -> list[str]:
        return [run.run_id for run in self.runs]

    @property
    def is_group(self) -> bool:
        return len(self.runs) > 1

    @property
    def seeds(self) -> str:
        """`5 seeds` or `seed 0`."""
        if self.is_group:
            return f"{len(self.runs)} seeds"
        return "one run" if self.first.seed is None else f"seed {self.first.seed}"


def run_from_row(row: Mapping[str, Any]) -> Run:
    """A row of `queries.list_runs`; sizes that are not known become 0."""

    def size(name: str, missing: int = 0) -> int:
        value = row.get(name)
        return missing if value is None else int(value)

    run_id = str(row["run_id"])
    name = given_name(row["name"] or "", run_id=run_id, label=row["balancer_label"] or "", seed=row["seed"])
    kind, rule = KindOfLoads.of_row(row), legend_of(row["balancer_label"] or "", row["balancer"] or "")
    is_imported = str(row.get("source")).startswith("imported:")
    if is_imported and rule == NOT_STATED:
        rule = ""  # every import would have this label
    return Run(
        run_id=run_id,
        path=str(row["path"]),
        name=name,
        state=row["state"] or "unreadable",
        shipped=row["dir_kind"] == "shipped",
        preset=row["preset"],
        seed=row["seed"],
        balancer=row["balancer"] or "",
        label=kind.behind(rule or shortened_name(name) or run_id),
        family=row["balancer_family"] or "unknown",
        scope=row["count_scope"] or "unknown",
        pair_key=row["pair_key"] or "",
        corpus_digest=row.get("corpus_digest") or "",
        config=row["config"] or "{}",
        num_moe_layers=size("num_moe_layers"),
        num_experts=size("num_experts"),
        top_k=size("top_k"),
        tokens_per_step=size("tokens_per_step"),
        num_steps=size("num_steps"),
        last_step=size("last_step", -1),
        generation=size("generation"),
        created_at=row["created_at"] or "",
        problem=row["problem"],
        message=row["message"],
        layer_numbers=_numbers(row.get("layers")),
        experts_per_layer=_numbers(row.get("experts_per_layer")),
        kind_of_loads=kind,
        is_imported=is_imported,
    )


def shortened_name(name: str) -> str:
    """A name as a legend has room for it."""
    return name if len(name) <= MOST_OF_NAME else f"{name[: MOST_OF_NAME - 1].rstrip()}…"


def _numbers(values: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if values is None else tuple(map(int, values))


def arms_of(runs: Iterable[Run]) -> list[Arm]:
    """Groups of at least two seeds first, then every single run; unreadable runs are left out.

    Runs belong together when they differ in the seed only. Of two runs with one seed the newest counts.
    """
    usable = [run for run in runs if run.has_steps]
    together: dict[tuple[object, ...], dict[int, Run]] = {}
    for run in sorted(usable, key=lambda r: r.created_at):
        # Only finished ones: the seeds of an arm are averaged step by step.
        if run.seed is not None and run.pair_key and run.state == "finished":
            together.setdefault((run.experiment, run.balancer, run.label), {})[run.seed] = run
    groups = [list(seeds.values()) for seeds in together.values() if len(seeds) > 1]
    names = [_group_name(group[0]) for group in groups]
    arms = [
        Arm(
            token=name if names.count(name) == 1 else f"{name} {_short(group[0], groups)}",
            label=group[0].label,
            runs=tuple(sorted(group, key=lambda r: r.seed or 0)),
        )
        for name, group in zip(names, groups, strict=True)
    ]
    arms.sort(key=lambda arm: (not arm.first.shipped, arm.first.preset or "", _order(arm)))
    return arms + [Arm(token=run.run_id, label=run.label, runs=(run,)) for run in usable]


def _short(run: Run, groups: Sequence[Sequence[Run]]) -> str:
    """Four letters that distinguish groups of one name: from the digest of configuration or text."""
    same = [g[0] for g in groups if g[0].pair_key == run.pair_key and g[0].balancer == run.balancer]
    return run.pair_key[:4] if len(same) == 1 else f"{run.pair_key[:4]} {run.corpus_digest[:4]}".strip()


def default_arms(arms: Sequence[Arm], most: int = 4) -> list[Arm]:
    """The comparison that the app opens with.

    Of all sets of runs that may be compared as pairs, the one with the most arms; groups before
    single runs, shipped before own, and of a set the arms that tell the story first. Runs without
    loads are chosen by hand only.
    """
    sets: dict[tuple[str, ...], list[Arm]] = {}
    taken: set[tuple[object, ...]] = set()
    for arm in arms:
        # Without a pair key, two runs of one rule may be different experiments.
        same = arm.first.experiment if arm.first.pair_key else arm.token
        key = (same, arm.first.balancer, arm.first.label)
        if key not in taken and arm.first.has_loads:
            taken.add(key)
            sets.setdefault(arm.first.experiment, []).append(arm)
    if not sets:
        return []

    def worth(members: list[Arm]) -> tuple[int, int, int, str]:
        num_in_story = sum(arm.first.balancer in STORY for arm in members)
        seeds = sum(len(arm.runs) for arm in members)
        return (num_in_story, sum(arm.first.shipped for arm in members), seeds, members[0].first.created_at)

    best = max(sets.values(), key=worth)
    return sorted(best, key=_order)[:most]


def chart_labels(arms: Sequence[Arm]) -> dict[str, str]:
    """token -> legend text: the rule with its scope, and whatever else distinguishes these arms."""
    several = len({arm.first.pair_key for arm in arms}) > 1
    names = [f"{arm.label}, {arm.first.preset or 'custom'}" if several else arm.label for arm in arms]
    return unique_names(arms, names)


def short_labels(arms: Sequence[Arm]) -> dict[str, str]:
    """token -> the short rule name for a card, and whatever else distinguishes these arms."""
    return unique_names(arms, [arm.first.short for arm in arms])


def unique_names(arms: Sequence[Arm], names: Sequence[str]) -> dict[str, str]:
    """token -> its name, no two alike: the seeds, then the names that people gave, then the ids are added."""
    labels = list(names)
    for describe in (_seeds, _titles, _ids):
        for text, count in Counter(labels).items():
            if count > 1:
                places = [place for place, label in enumerate(labels) if label == text]
                added = describe([arms[place] for place in places])
                for place, words in zip(places, added, strict=True):
                    labels[place] = f"{text}, {words}" if words else text
    return {arm.token: label for arm, label in zip(arms, labels, strict=True)}


def _seeds(arms: Sequence[Arm]) -> list[str]:
    """Nothing, where all have the same."""
    seeds = [arm.seeds for arm in arms]
    return seeds if len(set(seeds)) > 1 else [""] * len(arms)


def _titles(arms: Sequence[Arm]) -> list[str]:
    titles = ["" if arm.is_group else arm.first.title for arm in arms]
    return titles if len(set(titles)) > 1 else [""] * len(arms)


_MADE = re.compile(r".+-\d{8}-\d{6}(-[0-9a-f]{6})?")
"""An id of `recording.make_run_id`, which did not always end with six random characters."""


def _ids(arms: Sequence[Arm]) -> list[str]:
    """The ids; if the app made them, without the beginning that all share."""
    if not all(_MADE.fullmatch(arm.token) for arm in arms):
        return [arm.token for arm in arms]
    words = [arm.token.split("-") for arm in arms]
    shared = 0
    while len({tuple(one[: shared + 1]) for one in words}) == 1 and all(
        len(one) > shared + 1 for one in words
    ):
        shared += 1
    return ["-".join(one[shared:]) for one in words] if len(arms) > 1 else [arms[0].token]


def arms_key(arms: Sequence[Arm], labels: Mapping[str, str]) -> tuple[object, ...]:
    """All that a figure of these arms depends on, as a key."""
    return tuple(
        (a.token, labels[a.token], a.family, a.first.scope, tuple(r.version for r in a.runs)) for a in arms
    )


def _group_name(run: Run) -> str:
    """The name of its group in the address; `standard none` without a rule, as in older links."""
    return f"{run.preset or 'custom'} {'none' if run.short == NO_BALANCING else run.short}"


def group_title(arm: Arm) -> str:
    """All seeds of an arm as a list shows them: its token, with the rule as legends write it."""
    run = arm.first
    return f"{run.preset or 'custom'} {run.short}{arm.token.removeprefix(_group_name(run))}"


def _order(arm: Arm) -> tuple[int, str]:
    """Story arms first and in their order, the others by name."""
    text = arm.first.balancer
    return (STORY.index(text) if text in STORY else len(STORY), text)
