"""The two routings that an address compares: whose probes, and how the second holds its bias."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from explorer.figures import agreement
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.panel import Build, Question
from explorer.figures.two_routings import BIASES, Side, TwoRoutings
from explorer.figures.views.address import Address
from explorer.figures.views.view import Query

KEYS = ("first", "first_probe", "second", "second_probe", "second_bias")
"""Settings that an address names; those at their default are left out of it."""
Values = Mapping[str, str]
Probes = Mapping[str, Sequence[int]]
"""Run id -> updates before each of its probes, ascending."""
BUILDS: dict[str, Build] = {
    "layers": agreement.by_layer,
    "tokens": agreement.differing_tokens,
    "probes": agreement.at_probes,
    "swaps": agreement.swaps,
    "loads": agreement.loads,
}


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a page lets a visitor compare."""

    runs: tuple[Run, ...]
    """Runs that keep a probe, in the order of the list boxes."""
    probes: Probes
    biased: frozenset[str]
    """Run ids whose last probe uses a bias."""
    fixed: Side | None = None
    """The first routing, where the page has chosen it already."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The settings that this page offers."""
        return KEYS if self.fixed is None else KEYS[2:]

    def options(self, key: str, values: Values) -> tuple[str, ...]:
        """The values of a setting, given those before it in KEYS."""
        if key in ("first", "second"):
            return tuple(run.run_id for run in self.runs)
        if key == "second_bias":
            return tuple(BIASES) if values["second"] in self.biased else ("recorded",)
        return tuple(str(step) for step in self.probes[values[key.removesuffix("_probe")]])

    def default(self, key: str, values: Values) -> str:
        """Two runs at their last probe; or one run with its bias rounded, or against its probe before."""
        options = self.options(key, values)
        first = self.first(values)
        if key == "first":
            return options[0]
        if key == "second":
            return first.run_id if self.fixed is not None else options[-1]
        if key == "second_bias":
            return "bf16" if self._is_same_probe(values) and "bf16" in options else "recorded"
        if key == "second_probe" and values["second"] == first.run_id:
            if first.run_id in self.biased and str(first.step) in options:
                return str(first.step)
            return next((s for s in reversed(options) if int(s) < first.step), options[-1])
        return options[-1]

    def first(self, values: Values) -> Side:
        """The first routing; of a page that offers it, once it has been read."""
        if self.fixed is not None:
            return self.fixed
        return Side(run_id=values.get("first", ""), step=int(values.get("first_probe", 0)))

    def _is_same_probe(self, values: Values) -> bool:
        first = self.first(values)
        return values["second"] == first.run_id and values["second_probe"] == str(first.step)

    def settings(self, values: Values, layer: int) -> TwoRoutings:
        """The comparison that these values stand for."""
        second = Side(run_id=values["second"], step=int(values["second_probe"]), bias=values["second_bias"])
        return TwoRoutings(first=self.first(values), second=second, layer=layer)


def read(address: Address, offer: Offer) -> dict[str, str]:
    """Key -> value of every setting, read in the order of `offer.keys`."""
    values: dict[str, str] = {}
    for key in offer.keys:
        options = offer.options(key, values)
        values[key] = address.choice(key, options, offer.default(key, values), rule_of(options))
    return values


def rule_of(options: Sequence[str]) -> str:
    """What a value must be, as the end of a sentence."""
    return f"it can be {', '.join(options)}"


def query_of(values: Values, offer: Offer) -> Query:
    """The part of an address that names what differs from the defaults."""
    before: dict[str, str] = {}
    query: dict[str, tuple[str, ...]] = {}
    for key, value in values.items():
        if value != offer.default(key, before):
            query[key] = (value,)
        before[key] = value
    return query


def questions(page: str, offer: Offer, values: Values, layer: int) -> dict[str, Question]:
    """The panels of a comparison: layers, tokens, probes, swaps, loads; page: the start of their keys."""
    settings = offer.settings(values, layer)
    by_id = {run.run_id: run for run in offer.runs}
    ids = dict.fromkeys([settings.first.run_id, settings.second.run_id])
    arms = ArmSet.of_runs([by_id[run_id] for run_id in ids])
    return {
        name: Question(key=f"{page}_agreement_{name}", build=build, arms=arms, settings=settings)
        for name, build in BUILDS.items()
    }
