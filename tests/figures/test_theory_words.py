"""Every sentence of the Theory page is true of its series, over the settings of the controls."""

import re
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
from sentences import pattern, sentence

from explorer.figures import theory_text as words
from explorer.figures.simulation import STEP_SIZES
from explorer.figures.views.choice import RATES
from explorer.figures.views.theory import BIAS_RULES
from explorer.simulate import RuleSettings, Scores, ScoreSettings
from explorer.simulate.assignment import lp_optimum
from explorer.simulate.descent import Descent, descend
from explorer.simulate.online import Regret, late_cost

NUMBER, STEPS, TIES = map(re.compile, (r"(\d+)", r"(\S+) steps?", r"(\S+) exact ties?"))
SMALL = ScoreSettings(num_experts=4, top_k=1, num_tokens=64, source="frozen")


@cache
def scores_of(settings: ScoreSettings) -> np.ndarray:
    source = Scores(settings)
    return source.of(source.weights, source.offset(0)).astype("float64")


@cache
def run_of(settings: ScoreSettings, rule: str, rate: str, decay: str, steps: int = 100) -> Descent:
    how = RuleSettings(rule=rule, rate=float(rate), step_decay=decay)
    return descend(scores_of(settings), settings.top_k, how, steps)


CASES = list(product(BIAS_RULES, RATES[::2], STEP_SIZES))


def whole(text: str) -> int:
    return int(text.replace(",", ""))


def check_band(text: str, run: Descent) -> None:
    """The steps that the sentence names are those of a slow search over the whole series."""
    inside = [max(abs(load - run.load) for load in loads) <= run.band for loads in run.loads.tolist()]
    last = len(inside) - 1
    if sentence("theory.band_never") in text:
        assert not any(inside)
        return
    start, after = pattern("theory.band_from_start"), pattern("theory.band_after", steps=STEPS)
    named = re.search(f"({start}|{after}) (.*?)[:;]", text)
    assert named
    first = 0 if named[2] is None else whole(named[2])
    assert inside[first]
    assert not any(inside[:first])
    if named[3].startswith(sentence("theory.band_stays")):
        assert all(inside[first:])
    elif named[3].startswith(sentence("theory.band_does_not_stay")):
        assert not inside[last]
    else:
        left = re.search(pattern("theory.band_left", left=NUMBER, back=NUMBER) + r" .* to step (\d+)", text)
        assert left
        outside, back, end = map(int, left.groups())
        assert not inside[outside]
        assert back == outside + 1
        assert all(inside[back:])
        assert end == last
        assert outside > first


def check_moves(text: str, run: Descent, scores: np.ndarray, top_k: int) -> None:
    """Count the moves against the prices once more, one token after the other."""
    wrong = equal = total = 0
    for step in range(len(run.promise)):
        delta = run.prices[step + 1] - run.prices[step]
        before = np.argsort(-(scores + run.prices[step]), axis=1, kind="stable")[:, :top_k]
        after = np.argsort(-(scores + run.prices[step + 1]), axis=1, kind="stable")[:, :top_k]
        for token in np.flatnonzero((np.sort(before, 1) != np.sort(after, 1)).any(1)):
            left, joined = set(before[token]) - set(after[token]), set(after[token]) - set(before[token])
            for one, other in product(left, joined):
                total += 1
                wrong += delta[other] - delta[one] < -1e-13
                equal += abs(delta[other] - delta[one]) <= 1e-13
    if not total:
        assert text == sentence("theory.no_token_changed")
        return
    assert whole(text.split()[0]) == total
    assert (sentence("theory.no_move_against") in text) == (wrong == 0)
    ties = re.search(pattern("theory.every_one_but", ties=TIES), text)
    assert (whole(ties[1]) if ties else 0) == equal
    assert (sentence("theory.every_one") in text) == (wrong == 0), "one sentence says both"


def check_verdicts(text: str, run: Descent) -> None:
    steps = zip(run.dual[:-1], run.dual[1:], strict=True)
    change = [0 if abs(b - a) <= 1e-9 * abs(a) else (1 if b > a else -1) for a, b in steps]
    moved = pattern("theory.dual_steps", steps=STEPS, lower=NUMBER, raised=NUMBER)
    counts = re.match(f"{moved}(?:{pattern('theory.dual_unchanged', steps=NUMBER)})?", text)
    assert counts
    assert whole(counts[1]) == len(change)
    assert [int(n or 0) for n in counts.groups()[1:]] == [change.count(-1), change.count(1), change.count(0)]
    if change.count(1):
        assert sentence("theory.first_rise", step=change.index(1)) in text
    held = run.condition.sum()
    assert (
        sentence("theory.condition_holds_nowhere")
        if not held
        else sentence("theory.condition_holds_in", steps=held)
    ) in text
    if held:
        assert sentence("theory.dual_never_rises") in text


@pytest.mark.parametrize("decay", STEP_SIZES)
@pytest.mark.parametrize("rule", BIAS_RULES)
def test_the_sentences_are_true_of_their_series(rule: str, decay: str) -> None:
    for rate in RATES[::2]:
        run = run_of(SMALL, rule, rate, decay)
        check_band(words.band(run), run)
        check_moves(words.moves(run, rule), run, scores_of(SMALL), 1)
        check_verdicts(words.verdicts(run), run)


def test_loads_that_leave_the_band_again_are_not_said_to_stay() -> None:
    settings = replace(SMALL, num_tokens=256)
    run = run_of(settings, "sign", "2e-2", "sqrt", 200)
    text = words.band(run)
    check_band(text, run)
    assert sentence("theory.band_leaves_again", steps=19, last=77, again=78) in text


def test_every_way_of_nearing_the_band_occurs() -> None:
    """The property above would hold for settings that never leave it."""
    texts = [words.band(run_of(SMALL, *case)) for case in CASES]
    for part in ("never come", "and stay there", sentence("theory.band_does_not_stay"), "but leave again"):
        assert any(part in text for text in texts), part


def test_exact_ties_of_the_quantile_rule_are_no_violations() -> None:
    settings = ScoreSettings(num_experts=8, top_k=1, num_tokens=128, skew=1.5, source="frozen", seed=2)
    run = run_of(settings, "quantile", "2e-1", "constant", 200)
    text = words.moves(run, "quantile")
    check_moves(text, run, scores_of(settings), 1)
    assert sentence("theory.own_preference_ties", ties=5) in text


def test_a_move_against_the_rule_is_said_without_claiming_the_contrary() -> None:
    run = replace(run_of(SMALL, "sign", "1e-2", "constant"), violations=3)
    assert words.moves(run, "sign").endswith(sentence("theory.against_preference", tokens=3))


def test_one_step_is_not_some_steps() -> None:
    run = run_of(SMALL, "sign", "1e-2", "constant")
    level, wide = np.full(4, 16), np.array([40, 8, 8, 8])
    once = replace(run, loads=np.stack([wide, level, level]), dual=run.dual[:3])
    assert sentence("theory.band_stays_after_one_step", last=2) in words.band(once)


def test_the_dual_ends_on_the_optimum_or_above_it() -> None:
    optimum = lp_optimum(scores_of(SMALL), 1)
    far = run_of(SMALL, "sign", "1e-1", "constant")
    end = float((far.dual[-20:] - optimum.value).mean()) / 64
    assert sentence("theory.ends_above", value=words.number(end)) in words.dual(far, optimum)
    near = replace(far, dual=np.concatenate([far.dual, np.full(20, optimum.value)]))
    assert sentence("theory.ends_on_it") in words.dual(near, optimum)


def test_the_regret_that_is_said_is_the_sum_over_all_steps() -> None:
    excess = {"a": np.array([0.5, 0.25, 0.0, 0.0]), "b": np.array([0.1, 0.1, 0.1, 0.1])}
    runs = {name: Regret(rule=RuleSettings(), excess=values) for name, values in excess.items()}
    assert late_cost(runs["b"]) == pytest.approx(100)
    assert words.regret(runs) == sentence(
        "theory.regret", steps=4, small="0.40", large="0.75", window="1,000", a="0.00", b=100
    )
