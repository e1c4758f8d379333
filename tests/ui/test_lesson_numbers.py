"""The numbers of the lessons, against the run folders themselves: no index, no SQL, slow and obvious."""

import math
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from facts import fact, value_of
from scipy import stats
from sentences import pattern, sentence
from shipped_tables import SEEDS, held_out, table

from explorer import metrics
from explorer.course.facts import placeholders
from explorer.errors import ConfigError
from explorer.figures import course as lesson_course
from explorer.figures.facts.recorded import MissingRun

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shipped_runs")]
NAMES = {
    "none": "none",
    "aux_loss": "aux_loss",
    "sequence": "aux_loss-scope-sequence",
    "loss_free": "loss_free",
}
TEXTS = {"sequence": "aux_loss:scope=sequence"}


def loads(run: str) -> np.ndarray:
    """[S, L, E] tokens of the training steps."""
    rows = table(run, "expert_loads").sort("step", "layer", "expert")
    return rows["tokens"].to_numpy().reshape(rows["step"].n_unique(), 4, 16)


def by_domain(run: str) -> np.ndarray:
    """[L, D, E] tokens of the last evaluation."""
    rows = table(run, "eval_loads")
    rows = rows.filter(pl.col("step") == rows["step"].max()).sort("layer", "domain", "expert")
    return rows["tokens"].to_numpy().reshape(4, 6, 16)


def loss(run: str) -> float:
    rows = table(run, "evals")
    rows = rows.filter((pl.col("step") == rows["step"].max()) & (pl.col("split") == "held_out"))
    return float(np.mean(rows["lm_loss"].to_numpy()))


def max_vio(counts: np.ndarray) -> float:
    """Mean over layers of largest over mean, minus 1."""
    return float((counts.max(-1) / counts.mean(-1) - 1).mean())


def runs(arm: str) -> list[str]:
    return [f"{NAMES[arm]}-seed{seed}" for seed in SEEDS]


def text(arm: str) -> str:
    return TEXTS.get(arm, arm)


def test_every_placeholder_of_every_lesson_and_experiment_has_a_value() -> None:
    experiments, problems = lesson_course.experiments()
    assert problems == ()
    facts = {f for lesson in lesson_course.course() for step in lesson.steps for f in facts_of(step)}
    facts |= {f for experiment in experiments for f in placeholders(experiment.comment)}
    assert len(facts) > 80
    for written in sorted(facts):
        value = value_of(written)
        assert isinstance(value, str) or math.isfinite(value), written


def facts_of(step: object) -> list[str]:
    facts = placeholders(step.text) + placeholders(step.notice)  # type: ignore[attr-defined]
    prediction = step.prediction  # type: ignore[attr-defined]
    return facts + list(prediction.facts if prediction else ())


@pytest.mark.parametrize("arm", list(NAMES))
def test_balance_and_perplexity_of_an_arm(arm: str) -> None:
    folders = runs(arm)
    violations = [max_vio(held_out(run)) for run in folders]
    worst = [float((held_out(run).max(-1) / held_out(run).mean(-1) - 1).max()) for run in folders]
    assert fact(f"max_vio[{text(arm)}]") == pytest.approx(np.mean(violations), rel=1e-9)
    assert fact(f"max_vio[{text(arm)}; seed 3]") == pytest.approx(violations[3], rel=1e-9)
    assert fact(f"worst_layer[{text(arm)}]") == pytest.approx(np.mean(worst), rel=1e-9)
    assert fact(f"worst_over_mean[{text(arm)}]") == pytest.approx(np.mean(worst) / np.mean(violations))
    perplexities = [math.exp(loss(run)) for run in folders]
    assert fact(f"perplexity[{text(arm)}]") == pytest.approx(np.mean(perplexities), rel=1e-6)
    assert fact(f"perplexity[{text(arm)}; max]") == pytest.approx(max(perplexities), rel=1e-6)


def test_what_is_left_of_the_experts_without_a_rule() -> None:
    last = [loads(run)[-100:] for run in runs("none")]
    shares = [counts / counts.sum(-1, keepdims=True) for counts in last]
    entropy = [-(s * np.log(np.where(s > 0, s, 1))).sum(-1) for s in shares]
    assert fact("effective_experts[none]") == pytest.approx(np.mean([np.exp(h) for h in entropy]), rel=1e-6)
    assert fact("dead_experts[none]") == sum(int((counts.sum(0) == 0).sum()) for counts in last)
    busiest = last[0].sum(0)[2]
    assert fact("share[none; busiest; 2]") == pytest.approx(busiest.max() / busiest.mean())
    leader = loads(runs("none")[0])[:100, 2].sum(0).argmax()
    assert fact("leader_load[none; 2; 100]") == pytest.approx(busiest[leader] / busiest.mean())


@pytest.mark.parametrize(
    ("a", "b"), [("loss_free", "aux_loss"), ("sequence", "aux_loss"), ("none", "loss_free")]
)
def test_differences_and_what_they_need(a: str, b: str) -> None:
    values = np.array([loss(x) - loss(y) for x, y in zip(runs(a), runs(b), strict=True)])
    interval = stats.t.interval(0.95, 4, values.mean(), values.std(ddof=1) / math.sqrt(5))
    pair = f"{text(a)}; {text(b)}; held_out_loss"
    assert fact(f"difference[{pair}]") == pytest.approx(values.mean(), rel=1e-6)
    assert fact(f"half_width[{pair}]") == pytest.approx((interval[1] - interval[0]) / 2, rel=1e-3)
    assert fact(f"spread[{pair}]") == pytest.approx(values.std(ddof=1), rel=1e-6)
    assert fact(f"p_value[{pair}]") == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=1e-5)


def test_verdicts_count_all_six_pairs_of_the_four_arms() -> None:
    """Holm, worked out by hand: limits 0.05/6, 0.05/5 … for the p values in rising order."""
    arms_by_p = {}
    for a, b in combinations(NAMES, 2):
        values = [loss(x) - loss(y) for x, y in zip(runs(a), runs(b), strict=True)]
        arms_by_p[stats.ttest_1samp(values, 0).pvalue] = (a, b)
    kept, falls = [], False
    for rank, p in enumerate(sorted(arms_by_p)):
        falls = falls or p > 0.05 / (6 - rank)
        kept += [] if falls else [arms_by_p[p]]
    for a, b in combinations(NAMES, 2):
        verdict = fact(f"verdict[{text(a)}; {text(b)}; held_out_loss]")
        assert (verdict != 0) == ((a, b) in kept), (a, b)
    assert sorted(kept) == [("aux_loss", "sequence"), ("sequence", "loss_free")]
    assert fact("p_value[loss_free; none; held_out_loss]") < 0.05  # alone it would do
    assert fact("comparisons[loss_free; none]") == 6
    assert fact("comparisons[quantile; none]") == 1


def test_the_story_of_this_project_is_told_as_it_was_measured() -> None:
    """Loss-free against the auxiliary loss of the same scope is not significant; scope is."""
    assert fact("verdict[loss_free; aux_loss; held_out_loss]") == 0
    assert fact("verdict[aux_loss:scope=sequence; aux_loss; held_out_loss]") == 1
    assert fact("verdict[aux_loss:scope=sequence; aux_loss; max_vio]") == 0


@pytest.mark.parametrize("arm", list(NAMES))
def test_what_an_assignment_says_about_its_domain(arm: str) -> None:
    information = []
    for run in runs(arm):
        share = by_domain(run) / by_domain(run).sum(-1, keepdims=True)
        middle = share.mean(1, keepdims=True)
        ratio = np.divide(share, middle, out=np.ones_like(share), where=share > 0)
        information.append((share * np.log2(ratio)).sum(-1).mean())
    assert fact(f"information[{text(arm)}]") == pytest.approx(np.mean(information), rel=1e-6)


def test_single_sequences_of_a_step() -> None:
    for arm in ("loss_free", "sequence", "none"):
        rows = table(f"{NAMES[arm]}-seed0", "sequence_loads").filter(pl.col("split") == "train")
        steps = sorted(rows["step"].unique())[-20:]  # the end of the training
        rows = rows.filter(pl.col("step").is_in(steps)).sort(
            "step", "micro_batch", "sequence", "layer", "expert"
        )
        counts = rows["tokens"].to_numpy().reshape(-1, 4, 16)
        assert fact(f"sequence_max_vio[{text(arm)}; 1]") == pytest.approx(max_vio(counts), rel=1e-9)


def test_a_bias_step_is_the_algorithm_of_the_paper() -> None:
    counts = loads("loss_free-seed0")[:, 3]
    rows = table("loss_free-seed0", "expert_loads").filter(pl.col("layer") == 3).sort("step", "expert")
    bias = rows["expert_bias"].to_numpy().reshape(-1, 16)
    for step in (0, 100, 400):
        busiest = int(counts[step].argmax())
        at = f"loss_free; 3; {step}; busiest"
        assert fact(f"bias_step[{at}; expert]") == busiest
        assert fact(f"bias_step[{at}; tokens]") == counts[step].max()
        assert fact(f"bias_step[{at}; mean]") == 192
        assert fact(f"bias_step[{at}; before]") == bias[step, busiest]
        assert fact(f"bias_step[{at}; after]") == bias[step + 1, busiest]
        assert bias[step + 1, busiest] - bias[step, busiest] == pytest.approx(-0.003, abs=1e-6)
        assert fact(f"bias_step[{at}; moved]") == pytest.approx(1, abs=1e-3)
    assert fact("updates_equal[loss_free]") == fact("updates[loss_free]") == 799 * 4 * 16


def biases(run: str) -> np.ndarray:
    """[S, L, E] the bias that every training step used."""
    rows = table(run, "expert_loads").sort("step", "layer", "expert")
    return rows["expert_bias"].to_numpy().astype(np.float64).reshape(-1, 4, 16)


@pytest.mark.parametrize("arm", ["loss_free", "quantile", "loss_free:bias_update_rate=0.03"])
def test_maxvio_of_steps_and_when_forty_of_them_are_below(arm: str) -> None:
    counts = loads(f"{arm.replace(':', '-').replace('=', '-')}-seed0")
    of_step = [max_vio(step) for step in counts]
    assert fact(f"max_vio_between[{arm}; 0; 99]") == pytest.approx(np.mean(of_step[:100]))
    assert fact(f"max_vio_between[{arm}; 700; 799]") == pytest.approx(np.mean(of_step[700:]))
    for limit in (2.5, 1.0, 0.5):
        below = [s for s in range(39, 800) if np.mean(of_step[s - 39 : s + 1]) < limit]
        if below:
            assert fact(f"first_below[{arm}; {limit}]") == below[0]


def test_a_limit_that_is_never_reached_gets_a_sentence() -> None:
    with pytest.raises(ConfigError, match=r"0\.01.*" + pattern("lessons.never_reached")):
        fact("first_below[loss_free; 0.01]")


@pytest.mark.parametrize("arm", ["loss_free", "loss_free:bias_update_rate=0.03"])
def test_how_far_biases_come_apart_and_how_often_they_turn(arm: str) -> None:
    bias = biases(f"{arm.replace(':', '-').replace('=', '-')}-seed0")
    for layer in range(4):
        spreads = [max(row) - min(row) for row in bias[:, layer].tolist()]
        assert fact(f"peak_bias_spread[{arm}; {layer}]") == max(spreads)
        assert fact(f"peak_bias_step[{arm}; {layer}]") == spreads.index(max(spreads))
    ends = [max(row) - min(row) for row in bias[-1].tolist()]
    assert fact(f"bias_spread[{arm}]") == pytest.approx(sum(ends) / 4)
    turns = moves = 0
    for path in bias.reshape(800, -1).T:
        signs = np.sign(np.diff(path))
        both = (signs[:-1] != 0) & (signs[1:] != 0)
        turns, moves = turns + int((signs[:-1] != signs[1:])[both].sum()), moves + int(both.sum())
    assert fact(f"turning_share[{arm}]") == pytest.approx(turns / moves)


def test_biases_are_asked_only_of_runs_that_have_them() -> None:
    with pytest.raises(MissingRun, match=pattern("lessons.no_biases")):
        fact("peak_bias_spread[none; 0]")
    late = biases("none-400-loss_free-seed0")[401:, 0]
    assert fact("peak_bias_spread[none/400/loss_free; 0]") == (late.max(-1) - late.min(-1)).max()


def test_what_is_told_apart_in_what_experts_know() -> None:
    assert fact_words("information_verdict_words[aux_loss; aux_loss:scope=sequence]") == "significant"
    assert fact_words("information_verdict_words[loss_free; aux_loss]") == sentence(
        "captions.not_significant"
    )


def fact_words(written: str) -> str:
    return str(value_of(written))


def test_chance_is_what_random_draws_show() -> None:
    rng = np.random.default_rng(5)
    order = rng.random((60, 1536, 16)).argpartition(2, axis=-1)[..., :2]
    counts = np.stack([np.bincount(draw.ravel(), minlength=16) for draw in order])
    assert fact("reference[loss_free; uniform]") == pytest.approx(max_vio(counts), rel=0.1)


@pytest.mark.parametrize("slug", [lesson.slug for lesson in lesson_course.course()])
def test_every_right_answer_can_be_computed(slug: str) -> None:
    lesson = lesson_course.course().find(slug)
    assert lesson is not None
    for step in lesson.steps:
        if step.prediction is not None:
            assert step.prediction.right(value_of) in range(len(step.prediction.options))


def test_right_answers_agree_with_the_folders() -> None:
    """One of each rule, worked out by hand."""
    answers = {}
    for slug, part in (
        ("too-small-and-too-large", 4),
        ("what-experts-specialise-in", 2),
        ("why-experts-collapse", 4),
    ):
        prediction = lesson_course.course().find(slug).steps[part - 1].prediction  # type: ignore[union-attr]
        assert prediction is not None
        answers[slug] = prediction.options[prediction.right(value_of)]
    rates = {
        "0.0003": max_vio(held_out("loss_free-bias_update_rate-0.0003-seed0")),
        "0.003": max_vio(held_out("loss_free-seed0")),
        "0.03": max_vio(held_out("loss_free-bias_update_rate-0.03-seed0")),
    }
    assert answers["too-small-and-too-large"] == min(rates, key=lambda rate: rates[rate])
    assert answers["what-experts-specialise-in"] == "sequence-wise loss"
    times = np.mean([max_vio(held_out(r)) for r in runs("none")]) / np.mean(
        [max_vio(held_out(r)) for r in runs("loss_free")]
    )
    assert times > 15
    assert answers["why-experts-collapse"] == sentence("lessons.times")
    assert metrics.max_vio(held_out("none-seed0")).mean() == pytest.approx(max_vio(held_out("none-seed0")))
