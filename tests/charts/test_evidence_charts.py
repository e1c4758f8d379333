"""The tiles of the Evidence page: every claim by its name, in as many columns as there is room for."""

import polars as pl

from explorer.charts import evidence


def tiles(supported: int, contradicted: int) -> pl.DataFrame:
    verdicts = ["supported"] * supported + ["contradicted"] * contradicted
    ids = [f"A{i}" for i in range(len(verdicts))]
    names = [f"claim number {i} with a long name" for i in range(len(verdicts))]
    return pl.DataFrame({"id": ids, "name": names, "verdict": verdicts, "claim": names, "effect": ids})


def test_a_tile_has_a_name_that_fits_two_lines() -> None:
    chart = evidence.verdict_tiles(tiles(2, 1)).to_dict()
    rows = [row for data in chart["datasets"].values() for row in data if "lines" in row]
    assert {len(row["lines"].split("\n")) for row in rows} == {2}
    assert all(row["lines"].replace("\n", " ") == row["name"] for row in rows)
    texts = [layer["encoding"]["text"] for layer in chart["layer"] if "text" in layer["encoding"]]
    assert not any(text.get("field") == "id" for text in texts)


def test_the_tiles_of_a_verdict_begin_below_those_of_the_one_before() -> None:
    chart = evidence.verdict_tiles(tiles(9, 4)).to_dict()
    rows = [row for data in chart["datasets"].values() for row in data if "nth" in row]
    (before,) = {
        (row["before_narrow"], row["before_wide"]) for row in rows if row["verdict"] == "contradicted"
    }
    assert before == (3, 3), "nine tiles are three rows of three, or three rows of four"
    assert [row["nth"] for row in rows if row["verdict"] == "contradicted"] == [0, 1, 2, 3]
    narrow_rows = 3 + 2
    assert chart["height"] == 2 * evidence.HEADING_PX + narrow_rows * evidence.TILE_PX
