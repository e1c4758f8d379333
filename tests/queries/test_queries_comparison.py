"""Runs beside each other."""

from pathlib import Path

import numpy as np
import pytest
from store_runs import DOMAINS, make_info, random_counts, record_steps, write_run

from explorer import metrics
from explorer.errors import ConfigError
from explorer.queries import balance, comparison, runs
from explorer.recording.run_writer import RunWriter
from explorer.records.records import EvalRecord
from explorer.store import Index


def test_the_order_is_as_asked_else_newest_first(index: Index, base: Path) -> None:
    for day, name in enumerate(("b", "a", "c")):
        write_run(base, name, steps=8, created_at=f"2026-01-0{day + 1}T00:00:00+00:00")
    index.ingest([base])
    with index.cursor() as cur:
        assert comparison.summary(cur)["run_id"].to_list() == ["c", "a", "b"]
        assert runs.list_runs(cur)["run_id"].to_list() == ["c", "a", "b"]
        assert comparison.summary(cur, ["b", "c"])["run_id"].to_list() == ["b", "c"]
        assert balance.layer_balance(cur, ["b", "c"])["run_id"].to_list() == ["b", "b", "c", "c"]


def test_what_was_not_recorded_is_null(index: Index, base: Path) -> None:
    with RunWriter.create(base, make_info()) as recorder:
        record_steps(recorder, random_counts(8, 2, 4), range(8))
        recorder.flush()
        index.ingest([base])
        with index.cursor() as cur:
            row = comparison.summary(cur).to_dicts()[0]
    missing = ("perplexity", "lm_loss", "bits_per_byte", "max_vio_global", "worst_layer", "worst_max_vio")
    assert [row[name] for name in missing] == [None] * 6
    assert row["max_vio_batch"] > 0
    assert row["state"] == "running"


def test_perplexity_is_that_of_held_out_text_alone(index: Index, base: Path) -> None:
    with RunWriter.create(base, make_info()) as recorder:
        for split, loss in (("train", 9.0), ("held_out", 2.0)):
            recorder.record(
                EvalRecord(step=8, split=split, domain=DOMAINS[0], lm_loss=loss, num_tokens=10, num_bytes=33)
            )
        recorder.finish("finished")
    assert index.ingest([base]).problems == {}
    with index.cursor() as cur:
        assert comparison.summary(cur)["lm_loss"].to_list() == [2.0]


def test_an_unreadable_run_is_listed_without_figures(index: Index, base: Path) -> None:
    write_run(base)
    (base / "run" / "run.json").write_text("{")
    index.ingest([base])
    with index.cursor() as cur:
        row = comparison.summary(cur).to_dicts()[0]
        problem = runs.list_runs(cur)["problem"][0]
    assert (row["run_id"], row["state"], row["perplexity"]) == ("run", "unreadable", None)
    assert "run.json" in problem


def arms(base: Path) -> tuple[list[str], list[str]]:
    """Seeds 0 to 2 of two arms; the loss of arm a is 0.1 per seed above that of `record_final`."""
    for seed in range(3):
        write_run(base, f"a{seed}", steps=8, seed=seed, created_at=f"2026-01-01T00:00:0{seed}")
        write_run(base, f"b{seed}", steps=8, seed=seed, created_at=f"2026-01-01T00:00:0{seed}")
    return ["a0", "a1", "a2"], ["b0", "b1", "b2"]


def shift(index: Index, run_id: str, by: float) -> None:
    """Raise the held-out loss of a run in the index."""
    index._connection.execute(
        "UPDATE raw.evals SET lm_loss = lm_loss + ? "
        "WHERE run_key = (SELECT run_key FROM raw.runs WHERE run_id = ?)",
        [by, run_id],
    )


def test_pairs_are_formed_over_common_seeds(index: Index, base: Path) -> None:
    a, b = arms(base)
    index.ingest([base])
    for seed, by in enumerate((0.1, 0.2, 0.4)):
        shift(index, f"a{seed}", by)
    with index.cursor() as cur:
        effect = comparison.paired(cur, a, b, "lm_loss")
        fewer = comparison.paired(cur, a, b[:1], "lm_loss")
    interval = metrics.t_interval([0.1, 0.2, 0.4])
    assert interval is not None
    assert effect.n == 3
    np.testing.assert_allclose(list(effect.differences.values()), [0.1, 0.2, 0.4])
    assert list(effect.differences) == [0, 1, 2]
    assert (effect.mean, effect.half_width) == pytest.approx(interval)
    assert effect.resolved == metrics.is_resolved(interval)
    assert effect.unpaired_runs == ()
    assert (fewer.n, fewer.half_width, fewer.resolved) == (1, None, False)
    assert fewer.mean == pytest.approx(0.1)
    assert fewer.unpaired_runs == ("a1", "a2")


def test_runs_of_another_experiment_are_no_pair(index: Index, base: Path) -> None:
    write_run(base, "a", steps=8)
    write_run(base, "b", steps=8, pair_key="another")
    index.ingest([base])
    with index.cursor() as cur:
        effect = comparison.paired(cur, ["a"], ["b"], "max_vio_batch")
    assert (effect.n, effect.mean, effect.unpaired_runs) == (0, None, ("a", "b"))


def test_runs_on_different_text_are_no_pair(index: Index, base: Path) -> None:
    write_run(base, "a", steps=8)
    write_run(base, "same", steps=8)
    write_run(base, "other", steps=8, corpus={"name": "mix", "digest": "another"})
    write_run(base, "unknown", steps=8, corpus={"name": "mix"})
    write_run(base, "unknown-too", steps=8, corpus={"name": "mix"})
    index.ingest([base])
    with index.cursor() as cur:
        assert comparison.paired(cur, ["a"], ["same"], "lm_loss").n == 1
        for text in ("other", "unknown"):
            effect = comparison.paired(cur, ["a"], [text], "lm_loss")
            assert (effect.n, effect.unpaired_runs) == (0, ("a", text))
        assert comparison.paired(cur, ["unknown"], ["unknown-too"], "lm_loss").n == 1


def test_runs_of_unknown_origin_are_no_pair(index: Index, base: Path) -> None:
    write_run(base, "a", steps=8, pair_key="")
    write_run(base, "b", steps=8, pair_key="")
    index.ingest([base])
    with index.cursor() as cur:
        assert comparison.paired(cur, ["a"], ["b"], "lm_loss").n == 0


def test_of_two_runs_of_a_seed_the_newest_counts(index: Index, base: Path) -> None:
    write_run(base, "old", steps=8, created_at="2026-01-01T00:00:00")
    write_run(base, "new", steps=8, created_at="2026-01-02T00:00:00")
    write_run(base, "other", steps=8)
    index.ingest([base])
    shift(index, "new", 0.5)
    with index.cursor() as cur:
        effect = comparison.paired(cur, ["new", "old"], ["other"], "lm_loss")
    assert effect.differences == {0: pytest.approx(0.5)}
    assert effect.unpaired_runs == ("old",)


def test_an_unknown_figure_is_refused(index: Index) -> None:
    with index.cursor() as cur, pytest.raises(ConfigError, match="perplexity"):
        comparison.paired(cur, [], [], "name")
