"""Long tables: rows in order, which are taken as they lie, and any other rows give the same loads."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from explorer.errors import ForeignFileError
from explorer.importers import import_path, long_table
from explorer.recording import RunFolder

S, L, E = 7, 3, 4


@pytest.fixture
def rows() -> pl.DataFrame:
    """Every expert of three layers in seven steps, in order."""
    step, layer, expert = np.indices((S, L, E)).reshape(3, -1)
    tokens = np.random.default_rng(0).integers(0, 50, S * L * E)
    bias = np.random.default_rng(1).normal(size=S * L * E).astype(np.float32)
    columns = {"step": step * 10, "layer": layer + 2, "expert": expert, "tokens": tokens}
    return pl.DataFrame({**columns, "dropped": tokens // 7, "expert_bias": bias, "loss": 9.0 - step})


def imported(rows: pl.DataFrame, folder: Path) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """The loads, the losses, and the kinds of entry in the report."""
    folder.mkdir()
    rows.write_csv(folder / "t.csv")
    (run,) = import_path(folder / "t.csv", folder / "runs", None, {"num_experts": str(E)})
    read = RunFolder(folder / "runs" / run.run_id)
    names = ["step", "layer", "expert", "tokens", "dropped_tokens", "expert_bias"]
    loads = read.read("expert_loads", names).sort("step", "layer", "expert")
    return loads, read.read("steps", ["step", "lm_loss"]).sort("step"), [e["kind"] for e in run.report]


@pytest.mark.parametrize("chunk", [1 << 19, 17])
@pytest.mark.parametrize("order", ["as it is", "experts reversed", "shuffled"])
def test_the_order_of_rows_does_not_matter(
    rows: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str, chunk: int
) -> None:
    expected = imported(rows, tmp_path / "whole")
    monkeypatch.setattr(long_table, "CHUNK_ROWS", chunk)
    if order == "experts reversed":
        rows = rows.sort("step", "layer", "expert", descending=[False, False, True])
    elif order == "shuffled":
        rows = rows.sample(fraction=1.0, shuffle=True, seed=3)
    loads, losses, kinds = imported(rows, tmp_path / "ordered")
    assert loads.equals(expected[0])
    assert losses.equals(expected[1])
    assert ("sorted" in kinds) == (order == "shuffled")
    assert loads["tokens"].to_list() == rows.sort("step", "layer", "expert")["tokens"].to_list()
    assert loads["expert_bias"].null_count() == 0


def test_a_missing_row_and_a_repeated_one_are_counted(rows: pl.DataFrame, tmp_path: Path) -> None:
    """As many rows as there are cells, and yet not dense."""
    rows = pl.concat([rows[:5], rows[4:5], rows[6:]])
    loads, _, kinds = imported(rows, tmp_path / "twice")
    assert {"absent_keys", "repeated_rows"} <= set(kinds)
    assert loads["tokens"][5] == 0
    assert loads["tokens"][4] == 2 * rows["tokens"][4]


@pytest.mark.parametrize("cell", ["NaN", "-1", "1e30", ""])
def test_a_wrong_count_is_refused_wherever_it_stands(
    rows: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: str
) -> None:
    monkeypatch.setattr(long_table, "CHUNK_ROWS", 17)
    values = rows["tokens"].cast(pl.String).to_list()
    values[-2] = cell
    wrong = rows.with_columns(tokens=pl.Series(values))
    with pytest.raises(ForeignFileError, match=f"line {rows.height}"):
        imported(wrong, tmp_path / "wrong")
