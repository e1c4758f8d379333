"""Data behind a figure: as it is in Parquet, flat in CSV."""

import io
import json
from dataclasses import replace

import polars as pl
import pytest
from export_panels import panel

from explorer.errors import ConfigError
from explorer.export import data
from explorer.queries.statements import Statement

NESTED = pl.DataFrame(
    {
        "run": ['a,"b"', "c\nd", "e"],
        "experts": [[1, 2], [], None],
        "at": [{"x": 1, "y": "ü"}, {"x": None, "y": ""}, None],
        "nothing": [None, None, None],
    }
)


def test_lists_and_structs_are_json_in_a_csv() -> None:
    csv = data.table(panel(table=NESTED), "csv")
    back = pl.read_csv(io.BytesIO(csv))
    assert back["run"].to_list() == NESTED["run"].to_list()
    assert [json.loads(text) if text else None for text in back["experts"]] == [[1, 2], [], None]
    assert json.loads(back["at"][0]) == {"x": 1, "y": "ü"}


def test_parquet_keeps_types() -> None:
    back = pl.read_parquet(io.BytesIO(data.table(panel(table=NESTED), "parquet")))
    assert back["experts"].to_list() == NESTED["experts"].to_list()
    assert back.height == 3


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_empty_table_has_its_columns(kind: str) -> None:
    empty = pl.DataFrame(schema={"run": pl.String, "experts": pl.List(pl.Int64)})
    content = io.BytesIO(data.table(panel(table=empty), kind))
    back = pl.read_csv(content) if kind == "csv" else pl.read_parquet(content)
    assert back.columns == ["run", "experts"]


def test_without_a_table_the_rows_of_the_figure_are_written() -> None:
    bare = panel(table=None)
    frame = data.rows(bare)
    largest = max(part.height for part in bare.spec.datasets.values())
    assert frame.height == largest
    assert data.table(bare, "csv").startswith(",".join(frame.columns).encode())


def test_rows_of_one_run_name_it_and_those_of_several_do_not_get_another_column() -> None:
    table = pl.DataFrame({"expert": [0, 1]})
    one = Statement(sql="SELECT 1", params={"run_id": "a-seed0"})
    other = Statement(sql="SELECT 1", params={"run_id": "b-seed0"})
    assert data.table(panel(table=table, statements=(one,)), "csv").split()[:2] == [
        b"expert,run_id",
        b"0,a-seed0",
    ]
    assert data.rows(panel(table=table, statements=(one, other))).columns == ["expert"]
    named = table.with_columns(run_id=pl.lit("x"))
    assert data.rows(panel(table=named, statements=(one,)))["run_id"].to_list() == ["x", "x"]


def test_a_figure_without_any_data_is_an_empty_file() -> None:
    assert data.rows(panel(spec=replace(panel().spec, datasets={}))).is_empty()


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(ConfigError, match="xlsx"):
        data.table(panel(), "xlsx")


FORMULAS = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", " =1"]
HARMLESS = ["a=1", "1-1", "-0.5", "+2", "-1e-3", "", None]


def test_no_text_of_a_csv_is_a_formula_and_numbers_stay_numbers() -> None:
    texts = [*FORMULAS, *HARMLESS]
    table = pl.DataFrame({"text": texts, "number": [-1.5] * len(texts), "=name": [-1] * len(texts)})
    back = pl.read_csv(io.BytesIO(data.table(panel(table=table), "csv")))
    assert back["text"].to_list() == [f"'{text}" for text in FORMULAS] + HARMLESS
    assert back["number"].to_list() == [-1.5] * len(texts)
    assert back.columns == ["text", "number", "'=name"]


def test_names_of_a_category_are_texts_too_and_parquet_keeps_all_of_them() -> None:
    table = pl.DataFrame({"run": pl.Series(["=a", "b"], dtype=pl.Categorical)})
    assert data.table(panel(table=table), "csv").decode() == "run\n'=a\nb\n"
    assert pl.read_parquet(io.BytesIO(data.table(panel(table=table), "parquet")))["run"][0] == "=a"
