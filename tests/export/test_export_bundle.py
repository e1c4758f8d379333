"""A bundle holds what the page shows, says where it comes from, and loses nothing when one figure fails."""

import io
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from html import escape

import polars as pl
from export_panels import HOSTILE, panel
from sentences import sentence

from explorer.export import bundle
from explorer.export.provenance import Provenance, by_sql, file_stem, run_ids, tidy_sql
from explorer.export.settings import FigureSettings
from explorer.figures.panel import Panel
from explorer.queries.statements import Statement

TABLE = pl.DataFrame({"step": [0, 1], "max_vio": [0.5, 0.25]})
ASKED = (
    Statement(sql="\n    SELECT 1\n      AS one\n    ", params={"run_id": "a"}),
    Statement(sql="\n    SELECT 1\n      AS one\n    ", params={"run_id": "b"}),
    Statement(sql="SELECT 2", params={"run_ids": ["b", "c"]}),
)
RUNS = ({"run_id": "a", "seed": 3, "balancer_label": HOSTILE, "config": '{"x": 1}', "last_step": 9},)
WHERE = Provenance(view="compare", title=sentence("pages.compare"), permalink="/compare?runs=a", runs=RUNS)


def where(panels: Sequence[Panel]) -> Provenance:
    return WHERE


def first() -> Panel:
    return panel(table=TABLE, statements=ASKED)


def broken() -> Panel:
    good = first()
    return replace(good, key="broken", subject="Broken", spec=replace(good.spec, vega={"mark": "nonsense"}))


def opened(*panels: Panel, failed: tuple[str, ...] = ()) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(bundle.make(panels, where, FigureSettings(width_mm=85), failed)))


def test_every_member_has_its_name_and_its_content() -> None:
    zipped = opened(first())
    assert set(zipped.namelist()) == {
        "README.md",
        "manifest.json",
        "report.html",
        *(f"figures/max-vio.{kind}" for kind in ("svg", "png", "pdf")),
        *(f"data/max-vio.{kind}" for kind in ("csv", "parquet")),
        "spec/max-vio.vl.json",
        "sql/max-vio.sql",
    }
    assert pl.read_parquet(zipped.read("data/max-vio.parquet")).equals(TABLE)
    assert zipped.read("figures/max-vio.pdf").startswith(b"%PDF")
    spec = json.loads(zipped.read("spec/max-vio.vl.json"))
    assert spec["datasets"]
    assert "vega-lite" in spec["$schema"]


def test_the_manifest_says_where_it_comes_from() -> None:
    manifest = json.loads(opened(first()).read("manifest.json"))
    assert manifest["permalink"] == "/compare?runs=a"
    assert manifest["settings"]["width_mm"] == 85
    assert manifest["runs"][0]["seed"] == 3
    assert manifest["runs"][0]["config"] == {"x": 1}
    assert manifest["problems"] == []
    figure = manifest["figures"][0]
    assert (figure["key"], figure["finding"], figure["rows"]) == ("max-vio", "It falls.", 2)
    assert figure["statements"][2] == {"sql": "SELECT 2", "params": {"run_ids": ["b", "c"]}}
    assert set(figure["files"]) <= set(opened(first()).namelist())


def test_a_figure_that_fails_does_not_lose_the_others() -> None:
    zipped = opened(broken(), first(), failed=("third: " + sentence("export.figure_failed"),))
    names = zipped.namelist()
    assert "figures/max-vio.svg" in names
    assert "figures/broken.svg" not in names
    assert "data/broken.csv" in names, "its data are still there"
    manifest = json.loads(zipped.read("manifest.json"))
    assert len(manifest["problems"]) == 2
    assert "Broken" in manifest["problems"][1]
    report = zipped.read("report.html").decode()
    assert report.index("Incomplete") < report.index("<figure")
    assert "Incomplete" in zipped.read("README.md").decode()[:400]


def test_the_report_needs_nothing_else_and_holds_every_sentence() -> None:
    report = opened(first()).read("report.html").decode()
    assert not re.findall(r"<script|<link\b|\ssrc=[\"']?(?!data:)|url\((?!#)", report)
    for text in ("It falls.", "Lower is even.", "SELECT 1", "/compare?runs=a"):
        assert text in report
    assert escape(HOSTILE) in report
    assert "<svg" in report


def test_clips_of_several_figures_do_not_meet_in_one_page() -> None:
    report = opened(first(), replace(first(), key="second")).read("report.html").decode()
    ids = re.findall(r'\bid="([^"]+)"', report)
    assert len(ids) == len(set(ids))
    for name in re.findall(r"url\(#([^)]+)\)", report):
        assert name in ids


def test_equal_content_gives_an_equal_file() -> None:
    one, other = opened(first()), opened(first())
    assert one.namelist() == other.namelist()
    # The converter writes random names of fonts into a PDF.
    different = [n for n in one.namelist() if one.read(n) != other.read(n)]
    assert [n for n in different if not n.endswith(".pdf")] == []


def test_a_view_without_figures_is_an_honest_report() -> None:
    zipped = zipfile.ZipFile(io.BytesIO(bundle.make([], where, FigureSettings())))
    assert "No figure" in zipped.read("report.html").decode()


def test_runs_are_those_that_the_statements_ask_for() -> None:
    assert run_ids([first()]) == ["a", "b", "c"]


def test_a_statement_asked_twice_is_written_once() -> None:
    statements = by_sql(first())
    assert [(sql, len(given)) for sql, given in statements] == [("SELECT 1\n  AS one", 2), ("SELECT 2", 1)]
    assert tidy_sql("SELECT a\n      FROM b\n        WHERE c") == "SELECT a\nFROM b\n  WHERE c"


def test_names_of_files_are_safe_and_short() -> None:
    assert file_stem("compare", run_ids=["none-seed0", "x/../y"]) == "compare-none-seed0-x-y"
    assert file_stem("compare", run_ids=[f"a-rather-long-run-{i}" for i in range(9)]) == "compare-9-runs"
    assert file_stem("", "ä") == "figure"
    assert len(file_stem("v" * 400)) <= 150
