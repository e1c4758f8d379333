"""Statements of one run read its own rows, and what cursors share is of the state that they see."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from store_runs import make_info, random_counts, record_steps, sequence_record, write_run

from explorer.queries import (
    _baseline_inputs,
    _frames,
    balance,
    biases,
    comparison,
    events,
    loads,
    losses,
    mechanism,
    probe,
)
from explorer.queries import statements as noted
from explorer.queries._baselines import remembering
from explorer.recording.run_writer import RunWriter
from explorer.store import Index, snapshot
from explorer.store.memo import Memo

RUN = "run-b"
QUERIES: dict[str, Callable[[Any], Any]] = {
    "heatmap": lambda cur: loads.load_heatmap(cur, RUN, 1),
    "step": lambda cur: loads.loads_at(cur, RUN, 1, 7),
    "biases": lambda cur: biases.bias_trajectories(cur, RUN, 0),
    "max_vio": lambda cur: balance.max_vio_series(cur, [RUN]),
    "uniform": lambda cur: balance.uniform_series(cur, RUN, x="tokens"),
    "references": lambda cur: balance.references(cur, RUN),
    "layers": lambda cur: balance.layer_balance(cur, [RUN]),
    "losses": lambda cur: losses.loss_series(cur, [RUN], x="time"),
    "evals": lambda cur: losses.eval_series(cur, [RUN], x="tokens"),
    "events": lambda cur: events.events(cur, RUN),
    "summary": lambda cur: comparison.summary(cur, [RUN]),
    "margins": lambda cur: mechanism.choices(cur, [RUN]),
    "probes": lambda cur: probe.probes(cur, [RUN]),
}


@pytest.fixture
def three(index: Index, base: Path) -> Index:
    for seed, run_id in enumerate(("run-a", RUN, "run-c")):
        write_run(base, run_id, seed=seed)
    index.ingest([base])
    return index


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements as they are run."""
    result: list[str] = []

    def listed(cur: Any, sql: str, params: Any) -> str:
        result.append(snapshot.direct(cur, sql, params))
        return result[-1]

    monkeypatch.setattr(_frames, "direct", listed)
    return result


@pytest.mark.parametrize("name", QUERIES)
def test_the_rows_of_a_run_are_those_of_the_views(three: Index, name: str) -> None:
    with three.cursor() as cur:
        shared = QUERIES[name](cur)
        snapshot.detach(cur)
        by_views = QUERIES[name](cur)
    if isinstance(shared, pl.DataFrame):
        assert shared.schema == by_views.schema
        assert shared.equals(by_views)
        assert "run_key" not in shared.columns
    else:
        assert shared == by_views


def test_a_statement_of_one_run_reads_no_view(three: Index, executed: list[str]) -> None:
    with three.cursor() as cur:
        loads.load_heatmap(cur, RUN, 0)
        events.events(cur, RUN)
        alone = list(executed)
        events.events_of_runs(cur, ["run-a", RUN])
        loads.loads_at(cur, "unknown", 0, 0)
    assert len(alone) == 2
    assert all("raw." in sql and "WHERE run_key = 2)" in sql for sql in alone)
    assert not any("run_key" in sql for sql in executed[2:]), "several runs, or an unknown one"


def test_a_cursor_sees_the_index_as_it_was_when_it_was_opened(three: Index, base: Path) -> None:
    with three.cursor() as cur:
        write_run(base, "run-d")
        thread = threading.Thread(target=three.ingest, args=([base],))
        thread.start()
        thread.join()
        assert comparison.summary(cur).height == 3
    with three.cursor() as cur:
        assert comparison.summary(cur).height == 4


def test_a_key_that_another_run_has_now_is_not_used(three: Index, base: Path, tmp_path: Path) -> None:
    with three.cursor() as cur:
        before = loads.load_heatmap(cur, "run-c", 0)
    other = tmp_path / "other"
    counts = write_run(other, "run-d", seed=9)
    three.ingest([other])  # the others are gone, so that their keys are free
    write_run(other, RUN, seed=5)
    three.ingest([other])
    with three.cursor() as cur:
        assert loads.load_heatmap(cur, "run-c", 0).is_empty()
        cells = loads.load_heatmap(cur, "run-d", 0)
    assert cells["tokens"].to_numpy().reshape(40, 4).tolist() == counts[:, 0].tolist()
    assert not cells.equals(before)


def test_nothing_is_shared_while_an_ingest_may_commit(
    three: Index, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = []

    def during(*_: Any) -> Any:
        with three.cursor() as cur:
            shared.append(snapshot.direct(cur, "SELECT * FROM steps WHERE run_id = $run_id", {"run_id": RUN}))
        raise KeyError

    monkeypatch.setattr(three, "_ingest", during)
    with pytest.raises(KeyError):
        three.ingest([base])
    assert shared == ["SELECT * FROM steps WHERE run_id = $run_id"]
    with three.cursor() as cur:
        assert "raw.steps" in snapshot.direct(cur, *("SELECT * FROM steps", {"run_id": RUN}))


def test_the_progress_of_a_run_is_read_once_and_noted_each_time(three: Index) -> None:
    with noted.listening() as statements, three.cursor() as cur:
        loads.load_heatmap(cur, RUN, 0)
        first = list(statements)
        real = snapshot.remembered(cur, (first[0].sql, *first[0].params.items()), lambda: None)
        loads.load_heatmap(cur, RUN, 0)
    assert statements == [*first, *first]
    assert real == (40, 0, 4)


def write_sequences(base: Path, *, finish: bool = True) -> None:
    """A run with sequences in three of its steps, the first of them before the last quarter."""
    recorder = RunWriter.create(base, make_info("run"))
    for step, counts in enumerate(random_counts(40, 2, 4)):
        if step in (10, 30, 39):
            recorder.record(sequence_record(step, 0, random_counts(4, 2, 4, seed=step)))
        record_steps(recorder, counts[None], [step])
    if finish:
        recorder.finish("finished")
    else:
        recorder.flush()


@pytest.fixture
def ask(index: Index, tmp_path: Path, executed: list[str]) -> Callable[[], tuple[Any, Any, int]]:
    """The baselines of the run, the statements noted for them, and how many were run."""

    def answer() -> tuple[Any, Any, int]:
        executed.clear()
        memo = Memo(tmp_path / "memo.json")
        with noted.listening() as statements, remembering(memo), index.cursor() as cur:
            return balance.references(cur, "run"), list(statements), len(executed)

    return answer


def test_baselines_are_kept_until_the_folder_changes(
    index: Index, base: Path, ask: Callable[[], tuple[Any, Any, int]]
) -> None:
    write_sequences(base)
    index.ingest([base])
    first, again = ask(), ask()
    assert first[:2] == again[:2], "the same numbers and the same statements"
    assert first[0]["resampled_mean"] is not None
    assert (len(first[1]), first[2], again[2]) == (5, 4, 0), "the run's sizes are no statement on its rows"
    info = base / "run" / "run.json"
    info.write_text(info.read_text().replace('"name": "run"', '"name": "other"'))
    index.ingest([base])
    assert ask()[2] == 4


def test_baselines_of_a_run_that_trains_are_not_kept(
    index: Index, base: Path, ask: Callable[[], tuple[Any, Any, int]]
) -> None:
    write_sequences(base, finish=False)
    index.ingest([base])
    assert (ask()[2], ask()[2]) == (4, 4)


def test_the_latest_sequences_of_the_last_quarter_are_resampled(index: Index, base: Path) -> None:
    write_sequences(base)
    index.ingest([base])
    with index.cursor() as cur:
        counts, domains, first = _baseline_inputs._final_sequences(cur, "run")
    assert (counts.shape, len(domains), first) == ((8, 2, 4), 8, 30)
    assert counts[:4].tolist() == random_counts(4, 2, 4, seed=30).tolist()
