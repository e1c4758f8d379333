"""A refusal names the first bad value: its line, row or index, its column, the rule and the remedy."""

import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from foreign_files import entry, import_one, loads_of
from sentences import sentence

from explorer.errors import ForeignFileError
from explorer.importers import import_path

HEADER = "step,layer,expert,tokens,dropped_tokens,loss"
COLUMNS = HEADER.split(",")


def lines(steps: int = 150) -> list[list[str]]:
    """Two experts in each step: more rows than those from which the types of a CSV are inferred."""
    return [[f"{step}", "0", f"{expert}", "5", "0", "2.5"] for step in range(steps) for expert in (0, 1)]


def written(path: Path, rows: list[list[str]]) -> Path:
    path.write_text("\n".join([HEADER, *map(",".join, rows)]) + "\n", encoding="utf-8")
    return path


def refusal(path: Path, folder: Path, **options: str) -> str:
    with pytest.raises(ForeignFileError) as caught:
        import_path(path, folder / "runs", None, {"num_experts": "2", **options})
    assert not (folder / "runs").exists() or list((folder / "runs").iterdir()) == []
    return str(caught.value)


def bad_value(name: str, place: str, column: str, value: str, rule: str) -> str:
    remedy = sentence("import.correct_row")
    return sentence(
        "import.bad_value", file=name, place=place, column=column, value=value, rule=rule, remedy=remedy
    )


LAYER = sentence("import.whole_number", most=9999)
COUNT = sentence("import.number_to_2_48")


@pytest.mark.parametrize("row", [4, 250])
@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("layer", "x", LAYER),
        ("layer", "0.5", LAYER),
        ("layer", "-1", LAYER),
        ("tokens", "-5", COUNT),
        ("tokens", "", COUNT),
        ("tokens", "inf", COUNT),
        ("dropped_tokens", "-1", COUNT),
        ("loss", "high", "a number"),
    ],
)
def test_a_csv_names_its_line(column: str, value: str, rule: str, row: int, tmp_path: Path) -> None:
    rows = lines()
    rows[row][COLUMNS.index(column)] = value
    expected = bad_value("x.csv", f"line {row + 2}", column, value or "empty", rule)
    assert refusal(written(tmp_path / "x.csv", rows), tmp_path) == expected


def test_an_expert_beyond_the_number_of_experts(tmp_path: Path) -> None:
    rows = lines()
    rows[7][2] = "2"
    expected = sentence(
        "import.bad_value",
        file="x.csv",
        place="line 9",
        column="expert",
        value="2",
        rule=sentence("import.below_experts", experts=2),
        remedy=sentence("import.correct_experts"),
    )
    assert refusal(written(tmp_path / "x.csv", rows), tmp_path) == expected


def test_comments_blank_lines_and_quoted_line_breaks_count_as_lines(tmp_path: Path) -> None:
    text = 'layer,expert,count,note\n# one\n0,0,5,"a\nb"\n\n# two\n0,1,-5,c\n'
    (tmp_path / "x.csv").write_text(text)
    assert refusal(tmp_path / "x.csv", tmp_path) == bad_value("x.csv", "line 7", "count", "-5", COUNT)
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert refusal(tmp_path / "x.csv.gz", tmp_path) == bad_value("x.csv.gz", "line 7", "count", "-5", COUNT)


def test_a_negative_count_is_found_though_a_later_row_outweighs_it(tmp_path: Path) -> None:
    """Without a column of steps the rows of an expert are added up."""
    (tmp_path / "x.csv").write_text("layer,expert,count\n0,1,-5\n0,1,10\n0,0,3\n")
    assert refusal(tmp_path / "x.csv", tmp_path) == bad_value("x.csv", "line 2", "count", "-5", COUNT)


def test_blank_lines_and_blanks_after_commas_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("layer, expert, count\n0, 0, 3\n\n0, 1, 4\n\n")
    run = import_one(tmp_path / "x.csv", tmp_path, num_experts="2")
    assert loads_of(run).tolist() == [[[3, 4]]]


def test_a_line_with_too_many_fields(tmp_path: Path) -> None:
    rows = lines()
    rows[200].append("9")
    expected = sentence(
        "import.ragged",
        file="x.csv",
        line=202,
        fields=7,
        columns=6,
        remedy=sentence("import.correct_row"),
    )
    assert refusal(written(tmp_path / "x.csv", rows), tmp_path) == expected


def test_parquet_names_its_row(tmp_path: Path) -> None:
    frame = pl.DataFrame({"layer": [0, 0, 0], "expert": [0, 1, 1], "tokens": [1.0, 2.0, float("nan")]})
    frame.write_parquet(tmp_path / "x.parquet")
    assert refusal(tmp_path / "x.parquet", tmp_path) == bad_value(
        "x.parquet", "row 3", "tokens", "nan", COUNT
    )
    text = frame.with_columns(tokens=pl.Series(["1", "4 000", "2"]))
    text.write_parquet(tmp_path / "y.parquet")
    expected = bad_value("y.parquet", "row 2", "tokens", "'4 000'", COUNT)
    assert refusal(tmp_path / "y.parquet", tmp_path) == expected


def test_an_array_names_the_place(tmp_path: Path) -> None:
    loads = np.arange(24.0).reshape(4, 3, 2)
    loads[2, 1, 1] = -3
    np.save(tmp_path / "x.npy", loads)
    assert refusal(tmp_path / "x.npy", tmp_path) == sentence(
        "import.bad_index",
        file="x.npy",
        place="step 2, layer 1, expert 1",
        rule="a load from 0 to 2^48",
        value=-3.0,
        remedy="check the file",
    )


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("[[1, 2], [3, -4]]", "logical_count, value [1][1]: "),
        ("[[1, 2], [3, 4.5]]", "logical_count, value [1][1]: "),
        ('[[1, 2], [3, "a"]]', "logical_count, value [1][1]: "),
        ("[[1, 2], [3]]", "logical_count, value [1]: "),
        ("[[1, 2], 3]", "logical_count, value [1]: "),
        ("[]", "logical_count: "),
    ],
)
def test_json_names_the_index(value: str, place: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(f'{{"logical_count": {value}}}')
    assert refusal(tmp_path / "x.json", tmp_path).startswith(f"x.json, {place}")


def test_json_lines_name_line_and_index(tmp_path: Path) -> None:
    records = [{"iter": step, "layer": 0, "tpe": [[1, 2 - 9 * (step == 1)]]} for step in (0, 1)]
    (tmp_path / "rank0.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    assert refusal(tmp_path / "rank0.jsonl", tmp_path).startswith("rank0.jsonl, line 2, tpe, value [0][1]: ")


def test_text_among_the_numbers_of_a_log_is_reported(tmp_path: Path) -> None:
    text = "step,loss,name,moe-expert/tokens_layer0_expert1\n0,1.5,a,4\n1,abc,b,6\n2,nan,c,x\n3,,d,7\n"
    (tmp_path / "x.csv").write_text(text)
    run = import_one(tmp_path / "x.csv", tmp_path, num_experts="2")
    texts = entry(run, "unreadable_values")
    assert texts["counts"] == {"values": 3}
    assert texts["sentence"] == sentence("import.texts", values="3 values", first="line 3, loss: abc")
