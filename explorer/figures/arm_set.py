"""The arms of one view with the names that its legends use."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from explorer.figures.arms import Arm, Run, arms_key, chart_labels


@dataclass(frozen=True)
class ArmSet:
    """Arms in the order of the view; labels name them among the arms of the whole view."""

    arms: tuple[Arm, ...]
    labels: Mapping[str, str]
    """Token -> legend label."""

    @classmethod
    def of(cls, arms: Sequence[Arm]) -> "ArmSet":
        """Label these arms so that no two labels are equal."""
        return cls(tuple(arms), MappingProxyType(chart_labels(arms)))

    @classmethod
    def of_runs(cls, runs: Iterable[Run], labels: Mapping[str, str] | None = None) -> "ArmSet":
        """An arm per run, named by its id; labels: run_id -> legend label, that of its rules without them."""
        arms = tuple(Arm(token=run.run_id, label=run.label, runs=(run,)) for run in runs)
        own = {arm.token: arm.label for arm in arms}
        return cls(arms, MappingProxyType({**own, **(labels or {})}))

    def only(self, arms: Sequence[Arm]) -> "ArmSet":
        """Some of the arms, under the labels of the whole view."""
        return ArmSet(tuple(arms), self.labels)

    def of_token(self, token: str) -> Arm:
        """The arm of this token. Raises KeyError where there is none."""
        return {arm.token: arm for arm in self.arms}[token]

    def with_loads(self) -> "ArmSet":
        """Arms that have expert loads; a dense model has none."""
        return self.only([arm for arm in self.arms if arm.first.has_loads])

    def with_layer(self, layer: int) -> "ArmSet":
        """Arms that have expert loads in this MoE layer."""
        return self.only([arm for arm in self.with_loads() if layer in arm.first.layers])

    def label(self, arm: Arm) -> str:
        """The legend label of an arm."""
        return self.labels[arm.token]

    def one_seed(self, arm: Arm) -> str:
        """The label of an arm in a chart that shows its first run only."""
        return f"{self.label(arm)}, seed {arm.first.seed}" if arm.is_group else self.label(arm)

    def title(self, arm: Arm) -> str:
        """`one_seed` with the rule in short: a title of one line where charts stand side by side."""
        return _shortened(self.one_seed(arm), arm)

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Token -> the arm inside a sentence: its rule in short, or its label where two would be alike."""
        short = {arm.token: _shortened(self.label(arm), arm) for arm in self.arms}
        alike = Counter(short.values())
        return {
            arm.token: short[arm.token] if alike[short[arm.token]] == 1 else self.label(arm)
            for arm in self.arms
        }

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """Every run of every arm, once."""
        return tuple(dict.fromkeys(run for arm in self.arms for run in arm.runs))

    @cached_property
    def first_runs(self) -> tuple[Run, ...]:
        """The first run of every arm, in their order."""
        return tuple(arm.first for arm in self.arms)

    @cached_property
    def families(self) -> dict[str, str]:
        """Token -> family of the balancing rules, for colours."""
        return {arm.token: arm.family for arm in self.arms}

    @cached_property
    def scopes(self) -> dict[str, str]:
        """Token -> count scope of the balancing rules, for shades and dashes."""
        return {arm.token: arm.first.scope for arm in self.arms}

    @property
    def key(self) -> tuple[object, ...]:
        """Cache key of a chart of these arms: tokens, labels, families and versions of the runs."""
        return arms_key(self.arms, self.labels)

    def __iter__(self) -> Iterator[Arm]:
        return iter(self.arms)

    def __len__(self) -> int:
        return len(self.arms)


def _shortened(label: str, arm: Arm) -> str:
    """`loss-free 0.003, seed 0` for `loss-free u=0.003 (global batch scope), seed 0`."""
    return arm.first.short + label.removeprefix(arm.label) if label.startswith(arm.label) else label
