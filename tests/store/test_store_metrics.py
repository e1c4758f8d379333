"""The figures that SQL derives are those of `explorer/metrics`."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from slow_examples import slow_examples
from store_runs import make_info

from explorer import metrics
from explorer.queries import balance, comparison
from explorer.recording.run_writer import RunWriter
from explorer.records.records import EvalLoadRecord, EvalRecord, LoadRecord
from explorer.store import Index


@st.composite
def counts_SLE(draw: st.DrawFn) -> np.ndarray:
    """Loads of a run: even, skewed or collapsed, sometimes with a layer that routed nothing."""
    steps, layers, experts = draw(st.integers(1, 230)), draw(st.integers(1, 3)), draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    counts = rng.integers(0, draw(st.sampled_from([2, 50, 10**6])), (steps, layers, experts))
    start, length = draw(st.integers(0, steps)), draw(st.integers(0, 150))
    counts[start : start + length, 0, 1:] = 0  # one expert takes all
    return counts


def collapse(steps: int) -> np.ndarray:
    counts = np.ones((steps, 1, 4), dtype=np.int64)
    counts[10:110, :, 2:] = 0  # exactly E/2 effective experts for exactly 100 steps
    return counts


@slow_examples
@example(counts=collapse(120))
@example(counts=collapse(109))
@given(counts=counts_SLE())
def test_layers_and_runs_are_measured_as_defined(reused_index: Index, counts: np.ndarray) -> None:
    steps, layers, experts = counts.shape
    held_out = np.stack([counts[0], counts[-1]])
    with tempfile.TemporaryDirectory() as folder:
        recorder = RunWriter.create(Path(folder), make_info(layers=layers, experts=experts))
        for step in range(steps):
            recorder.record(LoadRecord(step=step, tokens_LE=counts[step]))
            recorder.step_done(step)
            if step in (steps // 3, steps // 2):
                recorder.flush()
                reused_index.ingest([folder])
        recorder.flush()
        reused_index.ingest([folder])
        check_layers(reused_index, counts)  # grown from three looks
        for number, domain in enumerate(("a", "b")):
            recorder.record(
                EvalRecord(
                    step=steps,
                    split="held_out",
                    domain=domain,
                    lm_loss=2.0 + number,
                    num_tokens=10,
                    num_bytes=33,
                )
            )
            recorder.record(
                EvalLoadRecord(step=steps, split="held_out", domain=domain, tokens_LE=held_out[number])
            )
        recorder.finish("finished")
        reused_index.ingest([folder])
    check_layers(reused_index, counts)  # loaded at once from the compacted files
    with reused_index.cursor() as cur:
        by_layer = balance.layer_balance(cur, ["run"])
        row = comparison.summary(cur, ["run"]).to_dicts()[0]
    assert_same(by_layer["max_vio_global"], metrics.max_vio(held_out.sum(0)))
    check_summary(row, counts, held_out.sum(0))


def check_layers(index: Index, counts: np.ndarray) -> None:
    steps, layers, experts = counts.shape
    with index.cursor() as cur:
        by_layer = balance.layer_balance(cur, ["run"])
        series = cur.execute(
            "SELECT max_vio, max_vio_mean100 FROM layer_metrics ORDER BY step, layer"
        ).fetchall()
        spread = cur.execute(
            "SELECT coefficient_of_variation, total_variation, idle_experts FROM layer_metrics "
            "ORDER BY step, layer"
        ).fetchall()
    assert_same([value for value, _ in series], metrics.max_vio(counts).ravel(), exactly=True)
    assert_same([mean for _, mean in series], moving_mean(metrics.max_vio(counts)).ravel())
    for column, figure in enumerate(
        (metrics.coefficient_of_variation, metrics.total_variation, metrics.idle_experts)
    ):
        assert_same([row[column] for row in spread], np.asarray(figure(counts), dtype=float).ravel())
    final = slice(-metrics.last_steps(steps), None)
    effective = metrics.effective_experts(counts)
    assert_same(by_layer["max_vio_batch"], metrics.max_vio_batch_by_layer(counts))
    assert_same(by_layer["idle_experts"], (counts[final] == 0).sum(-1).mean(0))
    for layer in range(layers):
        routed = effective[final, layer][~np.isnan(effective[final, layer])]
        wanted = [routed.mean() if len(routed) else np.nan]
        assert_same(by_layer["effective_experts"][layer : layer + 1], wanted)
        lasting = metrics.collapsed_steps(np.round(effective[:, layer], 9), experts).any()
        assert by_layer["collapsed"][layer] == lasting


def moving_mean(violation: np.ndarray) -> np.ndarray:
    """Mean of the defined values among the last 100 samples. [S, L] -> [S, L]."""
    result = np.full(violation.shape, np.nan)
    for step, layer in np.ndindex(*violation.shape):
        window = violation[max(0, step - 99) : step + 1, layer]
        if not np.isnan(window).all():
            result[step, layer] = np.nanmean(window)
    return result


def check_summary(row: dict, counts: np.ndarray, held_out: np.ndarray) -> None:
    domain_losses = {"a": 2.0, "b": 3.0}
    bits = [metrics.bits_per_byte(loss, 10, 33) for loss in domain_losses.values()]
    assert_same([row["lm_loss"]], [metrics.mean_loss(domain_losses)])
    assert_same([row["perplexity"]], [metrics.perplexity(domain_losses)])
    assert_same([row["bits_per_byte"]], [np.mean(bits)])
    assert_same([row["max_vio_batch"]], [metrics.max_vio_batch(counts)])
    assert_same([row["max_vio_global"]], [metrics.max_vio_global(held_out)])
    if held_out.sum(1).any():
        worst = metrics.worst_layer(held_out)
        assert row["worst_layer"] == worst[0]
        assert_same([row["worst_max_vio"]], [worst[1]])


def assert_same(actual: object, wanted: object, exactly: bool = False) -> None:
    """NULL is NaN; equal up to the order of summation, or exactly."""
    values = np.array([np.nan if v is None else v for v in actual])
    if exactly:
        np.testing.assert_array_equal(values, wanted)
    else:
        np.testing.assert_allclose(values, wanted, rtol=1e-12, atol=1e-12)
