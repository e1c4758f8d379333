"""What a lesson can show: a registry of panels, each one figure made of recorded runs or of a simulation.

A panel takes its keys (the settings that a lesson's file gives), draws with `show.figure`, and says which
page shows the same with the same settings. It raises MissingRun where a run is not here; the lesson goes on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import polars as pl

from explorer.charts import balance, biases, captions, differences, domains, heatmaps, losses, plane, ranking
from explorer.lessons import Key
from explorer.ui import cached, lesson_facts_quality, lesson_runs, merge, show, specs
from explorer.ui.arms import Arm, arms_key, chart_labels
from explorer.ui.bias_step import gap_of
from explorer.ui.chance import baselines, line_note
from explorer.ui.compare import extremes
from explorer.ui.compare_quality import PAIRED, origin, paired_rows

Keys = Mapping[str, Any]
HEIGHT = 340


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """The page that shows the same, and its settings there."""

    page: str
    words: str
    query: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One entry of the registry."""

    keys: Mapping[str, Key]
    draw: Callable[[Keys, str], Elsewhere | None]
    """Takes the keys and a name that no other figure of the page has."""
    words: str
    """What it shows, for docs/lessons.md."""


PANELS: dict[str, Panel] = {}

ARMS = Key(kind="texts", words="balancing rules or routings, as on the command line", needed=True)
ARM = Key(kind="text", words="a balancing rule or routing", needed=True)
SEED = Key(kind="integer", words="one seed; all of them without it")
LAYER = Key(kind="integer", words="mixture layer, from 0", needed=True)
UNTIL = Key(kind="integer", words="the curves end at this step")


def panel(name: str, **keys: Key) -> Callable[[Callable[[Keys, str], Elsewhere | None]], None]:
    """Enter a function into the registry; its docstring says what it shows."""

    def enter(draw: Callable[[Keys, str], Elsewhere | None]) -> None:
        PANELS[name] = Panel(keys=keys, draw=draw, words=" ".join((draw.__doc__ or "").split()))

    return enter


@dataclass(frozen=True, kw_only=True)
class _Cast:
    """The arms of a panel with their words."""

    arms: list[Arm]
    labels: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", chart_labels(self.arms))

    @property
    def families(self) -> dict[str, str]:
        return {arm.token: arm.family for arm in self.arms}

    @property
    def versions(self) -> tuple[cached.Version, ...]:
        return cached.versions([run for arm in self.arms for run in arm.runs])

    @property
    def key(self) -> tuple[object, ...]:
        return arms_key(self.arms, self.labels)

    @property
    def compare(self) -> Elsewhere:
        return Elsewhere(page="compare", words="Compare", query={"runs": [arm.token for arm in self.arms]})


def _cast(keys: Keys) -> _Cast:
    return _Cast(arms=lesson_runs.find_all(keys["arms"], keys.get("seed")))


def _up_to(frame: pl.DataFrame, keys: Keys, column: str = "last_step") -> pl.DataFrame:
    return frame.filter(pl.col(column) <= keys["until"]) if "until" in keys else frame


def _so_far(keys: Keys) -> str:
    return f" Shown up to step {keys['until']}." if "until" in keys else ""


SEEDS_BAND = "The band reaches from the lowest to the highest seed, or step behind a point for one seed."


@panel("max_vio", arms=ARMS, seed=SEED, until=UNTIL, log=Key(kind="flag", words="logarithmic axis"))
def max_vio(keys: Keys, name: str) -> Elsewhere | None:
    """MaxVio of every training step, against random routing: one curve an arm, means over seeds."""
    cast = _cast(keys)
    whole = merge.series(cached.max_vio_series(cast.versions), cast.arms, ["max_vio"], merge.ENDS)
    frame = _up_to(whole, keys)
    chance = baselines(cast.arms)
    drawn = {kind: pair for kind, pair in chance.known.items() if kind == "uniform"}
    # The baselines are those of the end, so an earlier step has them only where the batch stays the same.
    said = chance.known if "until" not in keys else drawn if chance.curve is None else {}
    log = bool(keys.get("log", False))
    show.figure(
        specs.kept(
            ("lesson balance", log, keys.get("until"), cast.key),
            partial(
                balance.max_vio_curves,
                frame,
                labels=cast.labels,
                families=cast.families,
                references=drawn,
                curve=None if chance.curve is None else _up_to(chance.curve, keys),
                log_y=log,
                height=HEIGHT,
            ),
        ),
        subject="MaxVio over training",
        finding=captions.max_vio_curves(frame, labels=cast.labels, references=said, baseline_of=chance.arm),
        how="How far the busiest expert lies above the mean load, averaged over layers; 0 is even. "
        f"{line_note(chance, cast.labels)} {SEEDS_BAND}{_so_far(keys)}",
        table=frame,
        key=name,
    )
    return cast.compare


@panel("perplexity", arms=ARMS, seed=SEED, until=UNTIL)
def perplexity(keys: Keys, name: str) -> Elsewhere | None:
    """Perplexity over training: lines for the training text, points for held-out text."""
    cast = _cast(keys)
    series = cached.loss_series(cast.versions)
    train = _up_to(merge.series(series, cast.arms, ["lm_loss", "perplexity"]), keys)
    held = _up_to(merge.evals(cached.eval_series(cast.versions), cast.arms), keys, "step")
    show.figure(
        specs.kept(
            ("lesson losses", keys.get("until"), cast.key),
            partial(
                losses.loss_curves, train, held, labels=cast.labels, families=cast.families, height=HEIGHT
            ),
        ),
        subject="Perplexity over training",
        finding=captions.loss_curves(train, held, labels=cast.labels),
        how="Lines are training text, points are held-out text with every domain weighing the same. Lower is "
        f"better.{_so_far(keys)}",
        table=held,
        key=name,
    )
    return cast.compare


@panel("loads", arms=ARMS, layer=LAYER, seed=SEED, until=UNTIL)
def loads(keys: Keys, name: str) -> Elsewhere | None:
    """The load of every expert of a layer over the steps, one run under the other (seed 0 by itself)."""
    cast = _Cast(arms=lesson_runs.find_all(keys["arms"], keys.get("seed", 0)))
    layer = int(keys["layer"])
    frames = {
        cast.labels[arm.token]: _up_to(cached.load_heatmap(arm.first.version, layer), keys)
        for arm in cast.arms
    }
    build = partial(heatmaps.compare_heatmaps, frames, height=176 if len(frames) > 1 else 260)
    spec = specs.kept(("lesson loads", layer, keys.get("until"), cast.key), build)
    finding = captions.compare_heatmaps(frames)
    if "until" in keys:
        finding = finding.replace("At the end", f"By step {keys['until']}", 1)
    show.figure(
        specs.without_legend(spec),
        subject=f"Loads of layer {layer}, seed {cast.arms[0].first.seed}",
        finding=finding,
        how="One row an expert, time to the right. Orange takes more than its share, purple less. Expert 3 "
        f"of one run is not expert 3 of another.{_so_far(keys)}",
        table=pl.concat([frame.with_columns(run=pl.lit(label)) for label, frame in frames.items()]),
        sources=[cached.load_heatmap(arm.first.version, layer) for arm in cast.arms],
        key=name,
    )
    show.load_legend()
    if len(cast.arms) == 1:
        return _replay(cast.arms[0], layer)
    return Elsewhere(page="compare", words="Compare", query={**cast.compare.query, "layer": layer})


def _replay(arm: Arm, layer: int, **more: Any) -> Elsewhere:
    query = {"run": arm.first.run_id, "layer": layer, **more}
    return Elsewhere(page="replay", words="Replay", query=query)


@panel("biases", arm=ARM, layer=LAYER, seed=SEED, until=UNTIL)
def bias_trajectories(keys: Keys, name: str) -> Elsewhere | None:
    """The bias of every expert of a layer over the steps (seed 0 by itself)."""
    arm = lesson_runs.find(keys["arm"], keys.get("seed", 0))
    layer = int(keys["layer"])
    frame = _up_to(cached.bias_trajectories(arm.first.version, layer), keys)
    show.figure(
        specs.kept(
            ("lesson biases", arm.first.version, layer, keys.get("until")),
            partial(
                biases.bias_trajectories,
                frame,
                highlight=extremes(frame),
                gap=gap_of(arm.first, frame),
                height=HEIGHT,
            ),
        ),
        subject=f"Expert biases of {arm.label}, layer {layer}, seed {arm.first.seed}",
        finding=captions.bias_trajectories(frame, gap=gap_of(arm.first, frame)),
        how="One line an expert; bold are the two that end highest and lowest. A rising bias makes an expert "
        f"easier to choose.{_so_far(keys)}",
        table=frame,
        key=name,
    )
    return _replay(arm, layer)


@panel("plane", arms=ARMS, seed=SEED)
def dilemma_plane(keys: Keys, name: str) -> Elsewhere | None:
    """Held-out perplexity against held-out MaxVio, one point a run; strengths of one rule are joined."""
    cast = _cast(keys)
    frame = cached.summary(cast.versions)
    show.figure(
        specs.kept(("lesson plane", cast.versions), partial(plane.dilemma_plane, frame, height=440)),
        subject="Perplexity against MaxVio of the held-out set",
        finding=ranking.dilemma_plane(frame),
        how="Lower left is better in both; both axes are logarithmic. Small points are runs, large ones are "
        "means over seeds with their 95 % intervals; strengths of one rule are joined by a line.",
        table=frame,
        key=name,
    )
    # Compare adds every shipped run of the same experiment to its plane; it takes six by name.
    return Elsewhere(page="compare", words="Compare", query={"runs": [a.token for a in cast.arms[:6]]})


@panel(
    "differences",
    arms=ARMS,
    base=Key(kind="text", words="the arm that the others are compared with", needed=True),
    figures=Key(kind="texts", words=f"of {', '.join(PAIRED)}", needed=True),
)
def paired_differences(keys: Keys, name: str) -> Elsewhere | None:
    """Differences between arms, seed by seed, with their 95 % t intervals."""
    base = lesson_runs.find(keys["base"])
    cast = _Cast(arms=[*lesson_runs.find_all(keys["arms"]), base])
    rows = [
        {
            **row,
            "survives": lesson_facts_quality.survives(text, keys["base"], figure),
            "comparisons": lesson_facts_quality.comparisons(text, keys["base"]),
        }
        for figure in keys["figures"]
        for text, arm in zip(keys["arms"], cast.arms[:-1], strict=True)
        for row in paired_rows([arm], base, cast.labels, figure)
    ]
    table = pl.DataFrame([{k: v for k, v in row.items() if k != "values"} for row in rows])
    show.figure(
        specs.kept(
            (
                "lesson differences",
                tuple(keys["figures"]),
                cast.key,
                tuple((row["survives"], row["comparisons"]) for row in rows),
            ),
            partial(differences.paired_differences, rows),
        ),
        subject=f"Differences from {cast.labels[base.token]}",
        finding=captions.paired_differences(rows),
        how=f"Each tick is one seed: its figure minus that of “{cast.labels[base.token]}” from "
        f"{origin(cast.arms)}. The bar is the 95 % t interval; one that covers 0 is not significant. Holm's "
        "correction counts all pairs of the course's four arms, figure by figure.",
        table=table,
        key=name,
    )
    query = {"runs": [arm.token for arm in cast.arms], "base": base.token}
    return Elsewhere(page="compare", words="Compare", query=query)


@panel("domains", arms=ARMS, layer=LAYER, seed=SEED)
def domain_experts(keys: Keys, name: str) -> Elsewhere | None:
    """Which expert serves which kind of held-out text, one heatmap an arm (seed 0 by itself)."""
    arms = lesson_runs.find_all(keys["arms"], keys.get("seed", 0))
    layer, labels = int(keys["layer"]), chart_labels(arms)
    for place, arm in enumerate(arms):
        frame = cached.domain_expert(arm.first.version, layer)
        chart = specs.kept(
            ("lesson domains", arm.first.version, layer, labels[arm.token]),
            partial(domains.domain_expert_heatmap, frame, title=labels[arm.token], height=156),
        )
        is_last = place == len(arms) - 1
        show.figure(
            specs.without_legend(chart),
            subject=f"Held-out loads by domain: {labels[arm.token]}, layer {layer}, seed {arm.first.seed}",
            finding=captions.domain_expert_heatmap(frame),
            how="Each row is the held-out text of one domain. A row of even colour is a domain without "
            "specialists. Compare patterns, not expert numbers."
            if is_last
            else "",
            table=frame,
            key=f"{name}_{place}",
        )
    show.load_legend()
    if len(arms) == 1:
        return _replay(arms[0], layer)
    return Elsewhere(page="replay", words="Replay", query={"run": arms[0].first.run_id, "layer": layer})
