"""The gallery: the figures of the Loss-Free Balancing paper, drawn again from the shipped runs.

Per figure: what the paper plots, ours, what ours shows, and where ours differs. Nothing here is trained at
the paper's scale, and no number of the paper is repeated.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

import polars as pl
import streamlit as st

from explorer.charts import balance, captions, losses, plane, ranking
from explorer.charts import gallery as figures
from explorer.figures.arms import Arm, Run
from explorer.metrics import LAST_RECORDED
from explorer.metrics.glossary import tip
from explorer.queries import statements as asked
from explorer.ui.shared import cached, links, show, specs
from explorer.ui.shared.chance import baselines

RATES = ("loss_free:bias_update_rate=0.0003", "loss_free", "loss_free:bias_update_rate=0.03")
MAIN = ("aux_loss:scope=sequence", "aux_loss", "loss_free")
FAMILIES = ("none", "aux_loss", "loss_free")
STEP, LAYER = 60, 0
"""The step of Figure 1: early, when the loads are uneven and the biases at work."""
BINS = 300

PAPER = "https://arxiv.org/abs/2408.15664"


class Shelf:
    """The shipped runs of the main experiment, by what they are."""

    def __init__(self, runs: Sequence[Run]) -> None:
        shipped = [run for run in runs if run.shipped and run.state == "finished" and run.has_loads]
        keys = Counter(run.experiment for run in shipped)
        main = keys.most_common(1)[0][0] if keys else ""
        self.runs = [run for run in shipped if run.experiment == main]

    def find(self, *balancers: str) -> list[Run]:
        """The first seed of each of these, in this order; what is not there is left out."""
        found = []
        for balancer in balancers:
            same = [run for run in self.runs if run.balancer == balancer]
            found += sorted(same, key=lambda run: run.seed or 0)[:1]
        return found

    @property
    def size(self) -> str:
        first = self.runs[0]
        return f"{first.sizes}, {first.tokens_per_step:,} tokens in a step, {first.num_steps:,} steps"


def view(runs: Sequence[Run]) -> None:
    """Every figure of the paper in its order."""
    shelf = Shelf(runs)
    if not shelf.runs:
        st.info(
            "The gallery is drawn from the runs that come with the project, and there are none here.",
            icon=":material/inbox:",
        )
        return
    st.markdown(
        f"The figures of [Wang et al. 2024]({PAPER}), *Auxiliary-Loss-Free Load Balancing Strategy for "
        "Mixture-of-Experts*, drawn again from the runs that come with this project. The paper trains "
        f"models of one and three billion parameters; ours have {shelf.size}. Compare shapes, not values."
    )
    for section in (_rule, _plane, _training, _rates, _batches, _cartoon, _softmax, _expert_choice):
        section(shelf)


def _head(number: str, title: str, paper: str, ours: str, topic: str = "") -> None:
    """What the paper plots, and where ours differs."""
    word = "Figures" if " " in number else "Figure"
    st.subheader(f"{word} {number}: {title}", help=tip(topic) if topic else None)
    st.markdown(f"**The paper:** {paper}  \n**Ours:** {ours}")


def _missing(shelf: Shelf, *balancers: str) -> bool:
    """Says it where runs that a figure needs are not here."""
    lacking = [name for name in balancers if not shelf.find(name)]
    if lacking:
        show.note(f"Not drawn: no shipped run of {', '.join(lacking)}.")
    return bool(lacking)


def _labels(runs: Sequence[Run]) -> dict[str, str]:
    return {run.run_id: run.label for run in runs}


def _families(runs: Sequence[Run]) -> dict[str, str]:
    return {run.run_id: run.family for run in runs}


# --- 1 ---


def _rule(shelf: Shelf) -> None:
    _head(
        "1",
        "the rule",
        "a diagram. A bias is added to the scores, the top K of the sum are chosen, loads are counted, and "
        "every bias moves by a fixed step against its expert's load.",
        f"the numbers of one recorded step, layer {LAYER}, step {STEP}. The Replay page has every step.",
        "expert_bias",
    )
    if _missing(shelf, "loss_free"):
        return
    run = shelf.find("loss_free")[0]
    frame = one_step(run, LAYER, min(STEP, max(run.last_step - 1, 0)))
    show.figure(
        specs.kept(("gallery step", run.version), partial(figures.one_step, frame)),
        subject=f"One step of {run.label}",
        finding=step_words(frame),
        how="A bar is the load that came out of this step; the dashed line is an even share. Beside it the "
        "expert's mean score, the bias that was used in choosing, and the bias that the next step uses.",
        table=frame,
        key="gallery_1",
    )
    links.page("replay", "Replay this run", run=run.run_id, step=STEP)


def one_step(run: Run, layer: int, step: int) -> pl.DataFrame:
    """Columns expert, tokens, load_ratio, mean_score, expert_bias (used), next_bias (after the update)."""
    now = cached.loads_at(run.version, layer, step)
    after = cached.loads_at(run.version, layer, step + 1)
    joined = now.join(after.select("expert", next_bias="expert_bias"), on="expert", how="left")
    frame = joined.select("expert", "tokens", "load_ratio", "mean_score", "expert_bias", "next_bias", "step")
    return asked.mark(frame.sort("expert"), asked.of(now, after))


def step_words(frame: pl.DataFrame) -> str:
    """How many experts were over and under the mean, and whether their biases moved against it."""
    known = frame.drop_nulls(["expert_bias", "next_bias"])
    if known.is_empty():
        return captions.NOTHING
    moved = pl.col("next_bias") - pl.col("expert_bias")
    over, under = known.filter(pl.col("load_ratio") > 1), known.filter(pl.col("load_ratio") < 1)
    down, up = over.filter(moved < 0).height, under.filter(moved > 0).height
    step = abs(known.select((moved).alias("m"))["m"]).max()
    return (
        f"{over.height} of {known.height} experts had more than their share, and {down} of their biases "
        "fell; "
        f"{under.height} had less, and {up} of theirs rose, each by {captions.number(float(step or 0))}."  # type: ignore[arg-type]
    )


# --- 2 and 7 ---


def _plane(shelf: Shelf) -> None:
    _head(
        "2",
        "the dilemma of the auxiliary loss",
        "validation perplexity against MaxVio of the whole validation set, one point a run: the auxiliary "
        "loss with several coefficients, and loss-free balancing.",
        "both scopes of the auxiliary loss, since its scope matters as much as its coefficient (the paper's "
        "loss is written for a sequence), several update rates, and five seeds in the middle of each sweep. "
        "Our scores are normalised before the loss, so coefficients are not those of the paper.",
        "dilemma_plane",
    )
    runs = [run for run in shelf.runs if run.family in FAMILIES and "score_norm" not in run.balancer]
    versions = cached.versions(runs)
    frame = cached.summary(versions)
    show.figure(
        specs.kept(("gallery plane", versions), partial(plane.dilemma_plane, frame)),
        subject="Perplexity against MaxVio of the held-out set",
        finding=ranking.dilemma_plane(frame),
        how="Lower left is better in both. Small points are runs, large ones are means over seeds with their "
        "95 % intervals; strengths of one rule are joined by a line.",
        table=frame,
        key="gallery_2",
    )


# --- 3 and 8 ---


def _training(shelf: Shelf) -> None:
    _head(
        "3",
        "balance during training",
        "MaxVio of every training batch as a mean over 100 steps, auxiliary loss against loss-free "
        "balancing, for two sizes of model.",
        "one size, both scopes of the auxiliary loss. The raw line stands behind the mean, and dashed lines "
        "show what chance alone would give: a batch of ours is far smaller, so chance weighs more.",
        "max_vio",
    )
    if _missing(shelf, *MAIN):
        return
    runs = shelf.find(*MAIN)
    subject = "MaxVio of every batch, with its mean over 100 steps"
    _max_vio(runs, chance=runs[-1], key="gallery_3", subject=subject)


def _max_vio(
    runs: Sequence[Run], *, chance: Run, key: str, subject: str, labels: Mapping[str, str] | None = None
) -> None:
    """chance: the run whose sizes and sequences the lines of chance are made of."""
    names = dict(labels or _labels(runs))
    versions = cached.versions(runs)
    frame = cached.max_vio_series(versions, max_bins=BINS)
    lines = baselines([Arm(token=chance.run_id, label=chance.label, runs=(chance,))], max_bins=BINS)
    build = partial(
        balance.max_vio_curves,
        frame,
        labels=names,
        families=_families(runs),
        references=lines.levels,
        curve=lines.curve,
        mean100=True,
    )
    show.figure(
        specs.kept((key, versions, tuple(names.values())), build),
        subject=subject,
        finding=captions.max_vio_curves(frame, labels=names, references=lines.levels),
        how="Bold: mean over the last 100 steps (fewer at the start), as the paper draws it. Thin, "
        "with a band: the steps themselves. Seed 0 of each, averaged over layers; the dashed lines are the "
        f"random-routing baselines of {chance.label}.",
        table=frame,
        sources=(cached.references(chance.version),),
        key=key,
    )


# --- 4 ---


def _rates(shelf: Shelf) -> None:
    _head(
        "4",
        "the update rate",
        "MaxVio of every batch as a mean over 100 steps for three update rates u, with their validation "
        "perplexity in the legend: a small rate converges slowly, a large one keeps fluctuating.",
        "three rates again, ten times apart, around the one that our runs use. The steps are few, so a slow "
        "rate has less time.",
        "bias_update_rate",
    )
    if _missing(shelf, *RATES):
        return
    runs = shelf.find(*RATES)
    summary = cached.summary(cached.versions(runs))
    perplexity = dict(summary.select("run_id", "perplexity").iter_rows())
    labels = {
        run.run_id: f"{run.label.split(' (')[0]} (perplexity {captions.number(perplexity[run.run_id])})"
        for run in runs
    }
    subject = "MaxVio of every batch for three update rates"
    chance = shelf.find("loss_free")[0]
    _max_vio(runs, chance=chance, key="gallery_4", subject=subject, labels=labels)


# --- 5 ---


def _batches(shelf: Shelf) -> None:
    _head(
        "5",
        "the size of a computation batch",
        "MaxVio of the tokens that are computed together, against how many they are, for two sizes of "
        "model. With the auxiliary loss it stops falling; loss-free balancing goes on falling with the size.",
        "groups of neighbouring sequences of one training step, from one to the whole step, seed 0, "
        f"in the last {LAST_RECORDED} steps whose sequences were recorded, and the random-routing baseline "
        "of as many tokens. A step of ours is small, and a sequence is of one domain: a group of one or two "
        "is uneven because texts differ.",
        "max_vio",
    )
    if _missing(shelf, *MAIN):
        return
    runs = shelf.find(*MAIN)
    frame = batch_sizes(runs)
    labels = _labels(runs)
    versions = cached.versions(runs)
    build = partial(figures.batch_sizes, frame, labels=labels, families=_families(runs))
    show.figure(
        specs.kept(("gallery batches", versions), build),
        subject="MaxVio of a computation batch against its size",
        finding=batch_words(frame, labels),
        how="Each point is a mean over groups and layers. A line that runs along the dotted one is as even "
        "as chance allows at that size; one that flattens out is uneven in a way that larger batches do not "
        "cure.",
        table=frame,
        key="gallery_5",
    )


def batch_sizes(runs: Sequence[Run]) -> pl.DataFrame:
    """Columns run_id, sequences, tokens, max_vio and uniform (means over layers), groups. Sorted by size."""
    parts = []
    found = [cached.computation_batches(run.version, group_sizes(run)) for run in runs]
    for run, frame in zip(runs, found, strict=True):
        merged = frame.group_by("sequences", maintain_order=True).agg(
            pl.col("tokens").mean(),
            pl.col("max_vio").mean(),
            uniform=pl.col("uniform_mean").mean(),
            groups=pl.col("groups").max(),
        )
        parts.append(merged.select(pl.lit(run.run_id).alias("run_id"), pl.all()))
    return asked.mark(pl.concat(parts), asked.of(*found))


def group_sizes(run: Run) -> tuple[int, ...]:
    """Sequences in a group: the powers of two, and the whole step."""
    training = json.loads(run.config).get("training")
    length = training.get("sequence_length") if isinstance(training, dict) else None
    # A configuration need not be ours.
    most = max(1, run.tokens_per_step // length) if isinstance(length, int) and length > 0 else 1
    return tuple(sorted({2**power for power in range(most.bit_length())} | {most}))


def batch_words(frame: pl.DataFrame, labels: Mapping[str, str]) -> str:
    """MaxVio at the smallest and the largest size, and how many times its baseline the largest is."""
    said = []
    for run_id, label in labels.items():
        part = frame.filter(pl.col("run_id") == run_id).sort("tokens")
        if part.is_empty():
            continue
        first, last = part.row(0, named=True), part.row(-1, named=True)
        if not last["uniform"]:
            continue
        times = captions.times(last["max_vio"] / last["uniform"])
        said.append(
            f"{label} falls from {captions.number(first['max_vio'])} to "
            f"{captions.number(last['max_vio'])}, {times} the random-routing baseline"
        )
    if not said:
        return captions.NOTHING
    sizes = sorted(map(float, frame["tokens"]))
    return f"From {sizes[0]:,.0f} to {sizes[-1]:,.0f} tokens: {'; '.join(said)}."


# --- 6 to 8 ---


def _cartoon(shelf: Shelf) -> None:
    _head(
        "6",
        "how expert choice looks ahead",
        "a cartoon with sequences of two tokens. When experts choose among the tokens of a sequence, "
        "whether the first token is taken depends on the second: routing tells the model about the future.",
        "no picture, a measurement instead. A later token is changed and the earlier ones whose experts "
        "change are counted: `python -m benchmarks.leak`, with its results in `docs/experiments.md`. Rules "
        "in which tokens choose change none.",
    )


def _softmax(shelf: Shelf) -> None:
    _head(
        "7 and 8",
        "the softmax gate",
        "Figures 2 and 3 once more with a softmax gate, and the sigmoid gate beside it in the plane.",
        "not drawn. All shipped runs have a sigmoid gate, and nothing here is filled in by hand. Train your "
        "own: `python -m explorer compare --preset standard --set model.score_func=softmax`, then open it "
        "in Compare.",
    )


# --- 9 ---


def _expert_choice(shelf: Shelf) -> None:
    _head(
        "9",
        "the training loss of expert choice",
        "training loss against step when experts choose inside chunks of several sizes, and once with the "
        "tokens shuffled across chunks. Small chunks show an abnormal drop, and shuffling removes it: a "
        "sign of the leak.",
        "one run in which experts choose within a micro-batch, against two in which tokens choose. A "
        "micro-batch is many sequences, where the leak is smaller; other chunks are measured in "
        "`docs/experiments.md`.",
        "lm_loss",
    )
    wanted = ("none", "loss_free", "expert_choice")
    if _missing(shelf, *wanted):
        return
    runs = shelf.find(*wanted)
    versions, labels = cached.versions(runs), _labels(runs)
    train, held = cached.loss_series(versions), cached.eval_series(versions)
    build = partial(
        losses.loss_curves,
        train,
        held,
        labels=labels,
        families=_families(runs),
        metric="lm_loss",
        log_y=False,
    )
    show.figure(
        specs.kept(("gallery losses", versions), build),
        subject="Training loss of expert choice and of token choice",
        finding=captions.loss_curves(train, held, labels=labels),
        how="Lines are training text, points held-out text. A leak would lower the line of expert choice "
        "against the others; it says nothing of how well such a model writes, since no future is there to "
        "be looked at.",
        table=train,
        sources=(held,),
        key="gallery_9",
    )
