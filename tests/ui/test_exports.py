"""What a page offers for download: every figure it shows, made when it is asked for and not before."""

import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest
from app_pages import Opener, charts, figures_of, words
from PIL import Image
from sentences import sentence
from streamlit.testing.v1 import AppTest

from explorer.export import data
from explorer.export.settings import FORMATS, TABLES
from explorer.queries._frames import frame
from explorer.ui.server.services import services
from explorer.ui.shared import exports
from explorer.ui.shared.urls import MOST_LETTERS, MOST_VALUES

MAGIC = {"png": b"\x89PNG", "svg": b"<svg", "pdf": b"%PDF", "html": b"<!doctype", "parquet": b"PAR1"}
WITH_FIGURES = ("overview", "compare", "replay", "playground", "theory", "glossary")


def downloads(app: AppTest) -> list[str]:
    return [button.proto.label for button in app.get("download_button")]


def elsewhere(make: object, *arguments: object) -> bytes:
    """As Streamlit calls it: in a thread that belongs to no script run."""
    with ThreadPoolExecutor(1) as pool:
        content: bytes = pool.submit(make, *arguments).result()  # type: ignore[arg-type]
    return content


@pytest.mark.parametrize("page", WITH_FIGURES)
def test_every_chart_of_a_page_can_be_exported(open_app: Opener, recorded: Path, page: str) -> None:
    app = open_app(recorded, page)
    shown = figures_of(app)
    assert charts(app) == len(shown.panels) > 0
    assert not app.exception
    for key in shown.present_keys():
        panel = shown.get(key)
        assert panel.subject
        assert panel.finding
        assert panel.how, key
        assert data.rows(panel).width > 0


def test_a_closed_line_makes_nothing_and_an_open_one_offers_every_format(
    open_app: Opener, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "figure_file", lambda *_: pytest.fail("nobody has asked for a file"))
    monkeypatch.setattr(exports, "table_file", lambda *_: pytest.fail("nobody has asked for a file"))
    app = open_app(recorded, "compare")
    assert downloads(app) == [sentence("controls.export_view")]
    tables = len(app.dataframe)
    app.session_state["table_compare_max_vio"] = True
    app.run()
    assert downloads(app) == ["PNG", "SVG", "PDF", "HTML", "CSV", "Parquet", sentence("controls.export_view")]
    assert len(app.dataframe) == tables + 1


def test_every_button_gives_its_file(open_app: Opener, recorded: Path) -> None:
    shown = figures_of(open_app(recorded, "compare", runs=["none-seed0", "loss_free-seed0"]))
    for kind in FORMATS:
        content = elsewhere(exports.figure_file, shown, "compare-max-vio", kind, exports.Choice())
        assert content.startswith(MAGIC[kind]), kind
    for kind in TABLES:
        content = elsewhere(exports.table_file, shown, "compare-max-vio", kind)
        assert len(content) > 100
    read = pl.read_parquet(io.BytesIO(content))
    table = shown.panels["compare-max-vio"].table
    assert table is not None
    assert read.equals(table)


def test_a_heatmap_whose_legend_stands_apart_on_the_page_has_its_own_in_a_file(
    open_app: Opener, recorded: Path
) -> None:
    shown = figures_of(open_app(recorded, "compare", runs=["none-seed0"]))
    svg = elsewhere(exports.figure_file, shown, "compare-loads-none-seed0", "svg", exports.Choice())
    assert b"uniform</text>" in svg


def test_the_bundle_of_a_view_holds_what_the_page_shows(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "compare", runs=["none-seed0", "loss_free-seed0"])
    shown = figures_of(app)
    zipped = zipfile.ZipFile(io.BytesIO(elsewhere(exports.bundle_file, shown, exports.Choice())))
    manifest = json.loads(zipped.read("manifest.json"))
    assert [figure["key"] for figure in manifest["figures"]] == list(shown.present_keys())
    assert manifest["problems"] == []
    page = words(app)
    for figure in manifest["figures"]:
        panel = shown.get(figure["key"])
        assert figure["finding"] == panel.finding
        read = pl.read_parquet(io.BytesIO(zipped.read(f"data/{figure['key']}.parquet")))
        assert read.equals(data.rows(panel)), figure["key"]
    assert shown.panels["compare-max-vio"].finding.split("(")[0] in page
    runs = {run["run_id"]: run for run in manifest["runs"]}
    assert {"none-seed0", "loss_free-seed0"} <= set(runs)
    assert runs["none-seed0"]["seed"] == 0
    assert runs["none-seed0"]["config"]["model"]["top_k"]


def test_the_statements_of_the_manifest_give_the_same_numbers_again(open_app: Opener, recorded: Path) -> None:
    """Loads as they are; shares by domain, cells of heatmaps and of biases from rows of the same layer."""
    shown = figures_of(open_app(recorded, "replay", run="loss_free-seed0", layer="1", step="11"))

    def asked_again(key: str) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
        panel = shown.get(key)
        assert panel.table is not None
        return panel.table, [frame(cur, one.sql, **one.params) for one in panel.statements]

    with services().index.cursor() as cur:
        table, answers = asked_again("replay-loads")
        assert any(answer.equals(table) for answer in answers)
        table, answers = asked_again("replay-domains")
        counts = ["domain", "expert", "tokens"]
        assert any(set(answer.rows()) == set(table.select(counts).rows()) for answer in answers)
        for key, row, cell in (
            ("replay-heatmap", "tokens", "tokens"),
            ("replay-biases", "bias", "bias_last"),
        ):
            table, answers = asked_again(key)
            (rows,) = (answer for answer in answers if {"ordinal", row} <= set(answer.columns))
            # The run is so short that every bin is one sample.
            samples = rows.sort("expert", "ordinal").select("expert", "first_step", row)
            cells = table.sort("expert", "bin").select("expert", "first_step", pl.col(cell).alias(row))
            assert samples.rows() == cells.rows()


def test_the_link_of_a_bundle_names_what_an_address_leaves_out(open_app: Opener, recorded: Path) -> None:
    shown = figures_of(open_app(recorded, "replay"))
    query = parse_qs(urlsplit(shown.permalink).query)
    assert query["run"] == ["loss_free-seed0"]
    assert (query["layer"], query["step"], query["expert"]) == (["0"], ["23"], ["all"])
    assert len(query["runs"]) == 4
    again = figures_of(open_app(recorded, "replay", **query))
    assert again.permalink == shown.permalink
    assert again.get("replay-heatmap").finding == shown.get("replay-heatmap").finding


def test_a_link_does_not_carry_on_what_no_control_has_taken_over(open_app: Opener, recorded: Path) -> None:
    overlong = {"panel": "p" * 100_000, "nothing": "n" * 100_000, "x" * 100_000: "1"}
    many = {f"key{number}": "1" for number in range(2 * MOST_VALUES)}
    link = figures_of(open_app(recorded, "replay", run="loss_free-seed0", **overlong, **many)).permalink
    query = parse_qs(urlsplit(link).query)
    assert query["run"] == ["loss_free-seed0"]
    assert query["nothing"] == ["n" * MOST_LETTERS]
    assert len(link) < 5000


def test_a_link_keeps_a_long_text_that_a_control_holds(open_app: Opener, recorded: Path) -> None:
    counts = ", ".join(str(1000 + number) for number in range(64))
    shown = figures_of(open_app(recorded, "glossary", example="typed", counts=counts, n="64"))
    assert parse_qs(urlsplit(shown.permalink).query)["counts"] == [counts]


def test_the_link_of_a_simulation_names_its_seed(open_app: Opener, recorded: Path) -> None:
    query = parse_qs(urlsplit(figures_of(open_app(recorded, "playground")).permalink).query)
    assert query["seed"] == ["0"]
    assert {"A", "B", "N", "K", "T", "S", "at"} <= set(query)


def test_figures_that_follow_the_player_stand_at_its_step_in_a_file(open_app: Opener, recorded: Path) -> None:
    shown = figures_of(open_app(recorded, "replay", run="loss_free-seed0", step="7"))
    assert shown.panels["replay-biases"].playhead is None
    assert shown.get("replay-biases").playhead == 7
    svg = elsewhere(exports.figure_file, shown, "replay-biases", "svg", exports.Choice())
    assert b">step 7<" in svg


def test_the_replay_is_an_animation_of_its_layer(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "replay", run="loss_free-seed0", layer="1")
    shown = figures_of(app)
    made = shown.films["replay-heatmap"]()
    assert len(made.steps) == 24
    content = elsewhere(exports.film_file, shown, "replay-heatmap", exports.Choice())
    assert Image.open(io.BytesIO(content)).n_frames == 24
    app.session_state["table_replay-heatmap"] = True
    app.run()
    assert sentence("controls.heatmap_gif") in downloads(app)


def test_a_figure_that_cannot_be_built_is_named_and_the_others_are_there(
    open_app: Opener, recorded: Path
) -> None:
    shown = figures_of(open_app(recorded, "replay"))

    def fail() -> None:
        raise ValueError("no such thing")

    shown.later["replay-heatmap"] = fail  # type: ignore[assignment]
    zipped = zipfile.ZipFile(io.BytesIO(elsewhere(exports.bundle_file, shown, exports.Choice())))
    assert "no such thing" in json.loads(zipped.read("manifest.json"))["problems"][0]
    assert "figures/replay-loss.svg" in zipped.namelist()


def test_the_look_of_files_is_chosen_in_the_sidebar(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, "overview")
    kept = app.session_state[exports.CHOICE.key]
    app.session_state["export_look"] = True
    app.run()
    app.selectbox(key="export_width").select("one column").run()
    assert (kept.settings.width_mm, kept.settings.font_pt) == (85, 7)
    app.toggle(key="export_title").set_value(False).run()
    assert kept.settings.title is False
    assert app.session_state[exports.CHOICE.key] is kept, "downloads hold this object"


def test_a_page_without_figures_offers_no_bundle(open_app: Opener, recorded: Path) -> None:
    assert downloads(open_app(recorded, "train")) == []
