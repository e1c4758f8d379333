"""One run made wrong on purpose for each kind of finding: it is found, and nothing else is."""

from pathlib import Path

import numpy as np
import pytest
from unhealthy_runs import E, K, Router, T, U, findings_of, record, sign_rule, write

from explorer.health import TITLES, Finding


def kinds_of(path: Path) -> set[str]:
    return {finding.kind for finding in findings_of(path)}


def only(path: Path, kind: str) -> list[Finding]:
    """The findings, all of which are of this kind."""
    findings = findings_of(path)
    assert {finding.kind for finding in findings} == {kind}, findings
    return findings


def even_counts(steps: int = 240, layers: int = 2, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.multinomial(K * T, np.full(E, 1 / E), size=(steps, layers))


def test_a_router_that_its_rule_balances_is_healthy(tmp_path: Path) -> None:
    assert findings_of(write(tmp_path, Router())) == []


def test_even_loads_need_no_rule(tmp_path: Path) -> None:
    assert findings_of(record(tmp_path, even_counts(), None)) == []


def test_collapse_names_its_layer_and_first_step(tmp_path: Path) -> None:
    counts = even_counts()
    counts[60:, 1] = 0
    counts[60:, 1, 2:5] = K * T // 3
    counts[60:, 1, 5] = K * T - 3 * (K * T // 3)
    path = record(tmp_path, counts, None, balancer="aux_loss")
    findings = [finding for finding in findings_of(path) if finding.kind == "collapse"]
    assert [(finding.layer, finding.first_step) for finding in findings] == [(1, 60)]
    assert findings[0].counts["effective_experts"] == pytest.approx(3, abs=0.1)


def test_a_layer_that_recovered_is_not_collapsed(tmp_path: Path) -> None:
    counts = even_counts()
    counts[10:130, 1] = 0
    counts[10:130, 1, :2] = T
    assert findings_of(record(tmp_path, counts, None)) == []


def test_dead_experts(tmp_path: Path) -> None:
    counts = even_counts()
    counts[90:, 0, 0] += counts[90:, 0, 7]
    counts[90:, 0, 7] = 0
    [finding] = only(record(tmp_path, counts, None), "dead_experts")
    assert (finding.layer, finding.first_step, finding.counts["dead"]) == (0, 90, 1)


def test_an_expert_that_a_short_file_never_names_is_dead(tmp_path: Path) -> None:
    counts = even_counts(steps=14) * 20
    counts[:, 0, 7] = 0
    labels = {"balancer": "", "source": "imported:table", "phase": "unknown"}
    dead = [f for f in findings_of(record(tmp_path, counts, None, **labels)) if f.kind == "dead_experts"]
    assert [(finding.layer, finding.counts["dead"]) for finding in dead] == [(0, 1)]
    trained = record(tmp_path, counts, None, run_id="trained")
    assert "dead_experts" not in kinds_of(trained)


def test_an_expert_that_rested_for_a_while_is_not_dead(tmp_path: Path) -> None:
    counts = even_counts()
    counts[90:235, 0, 0] += counts[90:235, 0, 7]
    counts[90:235, 0, 7] = 0
    assert findings_of(record(tmp_path, counts, None)) == []


def test_no_balancing(tmp_path: Path) -> None:
    path = write(tmp_path, Router(skew=0.9, update=None))
    assert [finding.layer for finding in only(path, "no_balancing")] == [None]


@pytest.mark.parametrize("phase", ["prefill", "decode", "serving"])
def test_in_service_nothing_is_expected_to_balance(tmp_path: Path, phase: str) -> None:
    path = write(tmp_path, Router(skew=0.9, update=None), phase=phase, balancer="", source="imported:x")
    # An expert that half of the tokens choose is worth a copy, whatever the reason.
    assert kinds_of(path) <= {"hot_expert"}


def test_in_service_a_narrow_text_is_no_collapse_and_a_bias_stands_still(tmp_path: Path) -> None:
    counts = np.full((240, 2, E), 20)
    counts[:, :, :2] = (K * T - 20 * (E - 2)) // 2
    biases = np.broadcast_to(np.linspace(0, 0.5, E, dtype=np.float32), counts.shape)
    assert kinds_of(record(tmp_path, counts, biases, phase="decode", run_id="decode")) == {"hot_expert"}
    assert kinds_of(record(tmp_path, counts, biases, phase="training", run_id="training")) == {
        "collapse",
        "frozen_bias",
    }


def with_a_hot_expert(steps: int = 240, since: int = 0, share: float = 0.6) -> np.ndarray:
    """Layer 1 sends this share of its tokens to expert 5; the other places are even."""
    counts = even_counts(steps)
    rest = np.full(E, (K - share) * T / (E - 1))
    rest[5] = share * T
    counts[since:, 1] = np.random.default_rng(1).multinomial(K * T, rest / rest.sum(), size=steps - since)
    return counts


@pytest.mark.parametrize("phase", ["", "unknown", "decode"])
def test_an_expert_that_is_hot_throughout(tmp_path: Path, phase: str) -> None:
    counts = with_a_hot_expert()
    path = record(tmp_path, counts, None, balancer="loss_free" if phase == "" else "", phase=phase)
    [finding] = only(path, "hot_expert")
    assert (finding.layer, finding.first_step, finding.counts["expert"]) == (1, 0, 5)
    assert finding.threshold == E / (2 * K)
    assert finding.counts["tokens"] == counts[:, 1, 5].sum()
    assert finding.counts["load_ratio"] == pytest.approx(counts[:, 1, 5].sum() * E / counts[:, 1].sum())
    assert (finding.counts["hot_windows"], finding.counts["windows"]) == (20, 20)
    assert finding.threshold < finding.measured <= finding.counts["load_ratio"]
    assert ("rule" in finding.try_this) == (phase != "decode")


def test_an_expert_is_hot_in_nearly_all_windows_or_not_throughout(tmp_path: Path) -> None:
    # 20 windows of 12 steps: one may be without, two may not.
    hot = record(tmp_path, with_a_hot_expert(since=12), None, balancer="loss_free", run_id="hot")
    [finding] = only(hot, "hot_expert")
    assert (finding.first_step, finding.counts["hot_windows"]) == (12, 19)
    for_a_while = with_a_hot_expert(since=24)
    assert findings_of(record(tmp_path, for_a_while, None, balancer="loss_free", run_id="later")) == []


def test_an_expert_with_less_than_half_of_the_tokens_is_not_hot(tmp_path: Path) -> None:
    counts = with_a_hot_expert(share=0.45)
    assert findings_of(record(tmp_path, counts, None, balancer="loss_free")) == []


@pytest.mark.parametrize("steps", [1, 7])
def test_a_few_recorded_steps_say_nothing_of_a_hot_expert(tmp_path: Path, steps: int) -> None:
    assert findings_of(record(tmp_path, with_a_hot_expert(steps), None, phase="decode")) == []


def test_what_nothing_balances_is_said_once(tmp_path: Path) -> None:
    counts = with_a_hot_expert(share=0.8)
    counts[:, 0] = counts[:, 1]
    only(record(tmp_path, counts, None), "no_balancing")


def test_an_auxiliary_loss_that_does_not_balance_is_weak(tmp_path: Path) -> None:
    only(write(tmp_path, Router(skew=0.9, update=None), balancer="aux_loss"), "weak_loss")


def test_a_bias_of_the_wrong_sign(tmp_path: Path) -> None:
    path = write(tmp_path, Router(steps=120, skew=0.3, update=sign_rule(-0.001)), balancer="")
    findings = [finding for finding in findings_of(path) if finding.kind == "wrong_sign"]
    assert [finding.layer for finding in findings] == [0, 1]
    assert all(finding.counts["along"] == 0 for finding in findings)
    assert "u_too_small" not in kinds_of(path)


def test_biases_that_run_away(tmp_path: Path) -> None:
    path = write(tmp_path, Router(update=lambda step, bias, counts: bias + 0.01 * np.arange(E)))
    findings = [finding for finding in findings_of(path) if finding.kind == "bias_runaway"]
    assert [finding.layer for finding in findings] == [0, 1]
    # 0.01 x 7 x step exceeds 1 at step 15.
    assert {finding.first_step for finding in findings} == {15}


def test_a_bias_that_is_not_finite_runs_away(tmp_path: Path) -> None:
    counts, biases = Router().run()
    biases[200:, 1, 3] = np.nan
    [finding] = [f for f in findings_of(record(tmp_path, counts, biases)) if f.kind == "bias_runaway"]
    assert (finding.layer, finding.first_step) == (1, 200)
    assert "NaN" in finding.sentence


def test_an_update_rate_that_is_too_small(tmp_path: Path) -> None:
    path = write(tmp_path, Router(update=sign_rule(0.0005)), balancer="loss_free:u=0.0005")
    findings = only(path, "u_too_small")
    assert findings[0].counts["u"] == pytest.approx(0.0005)


def test_biases_may_travel_while_a_run_is_young(tmp_path: Path) -> None:
    path = write(tmp_path, Router(update=sign_rule(0.0005)), balancer="loss_free:u=0.0005", num_steps=5000)
    assert findings_of(path) == []


def test_an_update_rate_that_is_too_large(tmp_path: Path) -> None:
    path = write(tmp_path, Router(skew=0.3, update=sign_rule(0.2)), balancer="loss_free:u=0.2")
    findings = [finding for finding in findings_of(path) if finding.kind == "u_too_large"]
    assert [finding.layer for finding in findings] == [0, 1]


def test_a_bias_that_stops(tmp_path: Path) -> None:
    def stops(step: int, bias: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return sign_rule()(step, bias, counts) if step < 5 else bias

    for finding in only(write(tmp_path, Router(update=stops)), "frozen_bias"):
        assert finding.first_step == 5
        assert "All biases" in finding.sentence


def test_a_bias_frozen_by_its_rule_is_meant_to_be(tmp_path: Path) -> None:
    counts, biases = Router().run()
    biases[100:] = biases[20]
    counts[100:, :, 0] += counts[100:, :, 1] // 2
    counts[100:, :, 1] -= counts[100:, :, 1] // 2
    path = record(tmp_path, counts, biases, balancer="loss_free:u=0.003,freeze_after_step=99")
    assert "frozen_bias" not in kinds_of(path)


def to_bf16(bias: np.ndarray) -> np.ndarray:
    bits = bias.astype(np.float32).view(np.uint32)
    return ((bits + 0x8000) & 0xFFFF0000).view(np.float32).astype(np.float64)


def test_a_bias_in_bfloat16_stalls(tmp_path: Path) -> None:
    router = Router(steps=480, update=sign_rule(0.0004), keep=to_bf16, skew=1.5)
    findings = [f for f in findings_of(write(tmp_path, router, balancer="")) if f.kind == "frozen_bias"]
    assert findings
    assert all(finding.counts["fits_bf16"] == 1 for finding in findings)


def test_a_bias_lost_on_resume(tmp_path: Path) -> None:
    def loses(step: int, bias: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return np.zeros(E) if step == 149 else sign_rule()(step, bias, counts)

    findings = only(write(tmp_path, Router(update=loses)), "bias_lost")
    assert [(finding.layer, finding.first_step) for finding in findings] == [(0, 150), (1, 150)]


def test_a_bias_that_moves_without_a_cause(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)

    def wanders(step: int, bias: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return bias + rng.normal(scale=1e-4, size=E)

    path = write(tmp_path, Router(skew=0.01, update=wanders), balancer="")
    assert [finding.layer for finding in only(path, "uncaused_moves")] == [0, 1]


def test_a_bias_recorded_after_its_update_has_a_cause(tmp_path: Path) -> None:
    counts, biases = Router().run()
    assert findings_of(record(tmp_path, counts[:-1], biases[1:], balancer="")) == []


def test_large_moves_recorded_after_their_update_have_the_right_sign(tmp_path: Path) -> None:
    counts, biases = Router(skew=0.1, update=sign_rule(0.2)).run()
    path = record(tmp_path, counts[1:], biases[1:], balancer="")
    assert "wrong_sign" not in kinds_of(path)
    after = record(tmp_path, counts[:-1], biases[1:], balancer="", run_id="after")
    assert kinds_of(after) == {"u_too_large"}


def test_several_updates_per_step_against_the_stated_rate(tmp_path: Path) -> None:
    findings = only(
        write(tmp_path, Router(times=3, update=sign_rule(0.001)), balancer="loss_free:u=0.001"),
        "several_updates",
    )
    assert {finding.counts["largest_multiple"] for finding in findings} == {3}


def test_a_rate_that_shrinks_is_one_update(tmp_path: Path) -> None:
    def shrinking(step: int, bias: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return sign_rule(0.003 if step < 120 else 0.001)(step, bias, counts)

    rates = np.where(np.arange(240) < 120, 0.003, 0.001)
    assert findings_of(write(tmp_path, Router(update=shrinking), rates=rates)) == []


def test_an_update_rate_of_0_at_the_end_is_meant(tmp_path: Path) -> None:
    def ends(step: int, bias: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return sign_rule()(step, bias, counts) if step < 5 else bias

    rates = np.where(np.arange(240) < 5, U, 0)
    assert findings_of(write(tmp_path, Router(update=ends), rates=rates)) == []


def test_several_updates_per_step_where_no_rate_is_stated(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)

    def by_micro_batch(step: int, bias: np.ndarray, counts: np.ndarray) -> np.ndarray:
        for part in rng.multivariate_hypergeometric(counts, counts.sum() // 4, size=4):
            bias = bias + 0.002 * np.sign(part.mean() - part)
        return bias

    findings = only(write(tmp_path, Router(update=by_micro_batch), balancer=""), "several_updates")
    assert {finding.counts["largest_multiple"] for finding in findings} == {4}


def test_a_rule_that_scales_its_moves_updates_once(tmp_path: Path) -> None:
    def proportional(step: int, bias: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return bias + 0.05 * (counts.mean() - counts) / counts.mean()

    assert findings_of(write(tmp_path, Router(update=proportional), balancer="")) == []


def moving_counts(seed: int = 0) -> np.ndarray:
    """Loads [S, 2, E] that are even on average and not at a step."""
    shares = np.random.default_rng(seed).dirichlet(np.full(E, 20), size=(240, 2))
    return np.random.default_rng(seed).multinomial(K * T, shares)


def test_an_auxiliary_loss_that_never_changes(tmp_path: Path) -> None:
    counts = moving_counts()
    losses = 2 * np.square(counts / counts.mean(-1, keepdims=True)).mean(-1)
    losses[50:, 0] = 2.0
    path = record(tmp_path, counts, None, aux_loss=losses, balancer="aux_loss")
    [finding] = only(path, "constant_aux_loss")
    assert (finding.layer, finding.first_step, finding.counts["aux_loss"]) == (0, 50, 2.0)


def test_an_auxiliary_loss_may_rest_while_the_loads_do(tmp_path: Path) -> None:
    counts = np.full((240, 2, E), K * T // E)
    assert (
        findings_of(record(tmp_path, counts, None, aux_loss=np.full((240, 2), 1.0), balancer="aux_loss"))
        == []
    )


def test_sequences_that_use_few_experts_each(tmp_path: Path) -> None:
    sequences = np.zeros((8, 2, E), dtype=np.int64)
    for i in range(8):
        sequences[i, 0, i % E] = sequences[i, 0, (i + 1) % E] = T // 8
        sequences[i, 1] = K * T // 8 // E
    counts = even_counts()
    counts[-1] = sequences.sum(0)
    [finding] = only(record(tmp_path, counts, None, sequences=sequences), "sequence_imbalance")
    assert finding.layer == 0
    assert finding.counts["effective_experts"] == pytest.approx(2)


@pytest.mark.parametrize(("factor", "cause"), [(2, "2 times"), (0.25, "one of 4 ranks")])
def test_counts_that_do_not_add_up(tmp_path: Path, factor: float, cause: str) -> None:
    counts = even_counts()
    counts[:, 1] = even_counts(layers=1)[:, 0] * 2 if factor == 2 else K * T // E // 4
    findings = only(record(tmp_path, counts, None), "bad_counts")
    assert [finding.layer for finding in findings] == [1]
    assert findings[0].counts["promised"] == K * T
    assert cause in findings[0].sentence


def test_a_layer_that_differs(tmp_path: Path) -> None:
    offsets = np.random.default_rng(3).normal(scale=0.1, size=(6, E))
    offsets[4] = [4, 0, 0, 0, 0, 0, 0, 0]
    path = write(tmp_path, Router(layers=6, update=None, offsets=offsets), balancer="aux_loss")
    findings = findings_of(path)
    # Its expert 0 is why it differs.
    assert [(finding.kind, finding.layer) for finding in findings] == [("hot_expert", 4), ("odd_layer", 4)]
    assert findings[0].counts["expert"] == 0


def test_no_layer_differs_where_all_are_uneven(tmp_path: Path) -> None:
    path = write(tmp_path, Router(layers=6, update=None, skew=0.7), balancer="aux_loss")
    assert "odd_layer" not in kinds_of(path)


def test_biases_are_judged_since_the_last_planned_change(tmp_path: Path) -> None:
    counts, biases = Router().run()
    before = np.broadcast_to(np.linspace(-0.2, 0.2, E, dtype=np.float32), (60, 2, E))
    counts, biases = np.concatenate([counts[-60:], counts]), np.concatenate([before, biases])
    planned = record(tmp_path, counts, biases, balancer=f"quantile/60/loss_free:u={U}", run_id="planned")
    assert findings_of(planned) == []
    assert kinds_of(record(tmp_path, counts, biases, run_id="lost")) == {"bias_lost"}


def test_a_run_of_one_step_has_no_course(tmp_path: Path) -> None:
    assert findings_of(record(tmp_path, even_counts(1), None)) == []


def test_findings_come_in_the_order_of_the_kinds(tmp_path: Path) -> None:
    path = write(tmp_path, Router(update=lambda step, bias, counts: bias + 0.01 * np.arange(E)), balancer="")
    order = list(TITLES)
    places = [(order.index(f.kind), -1 if f.layer is None else f.layer) for f in findings_of(path)]
    assert places == sorted(places)
    assert len(set(places)) == len(places)
