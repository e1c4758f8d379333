"""The Import page: a file, its format, questions, the report, and what is deleted."""

import gc
import tempfile
import time
from pathlib import Path

import pytest
from app_pages import Opener, words
from count_samples import sample_training_csv
from foreign_files import import_one
from foreign_samples import SAMPLES
from streamlit.testing.v1 import AppTest
from waiting import wait_for

from explorer.errors import ConfigError, ForeignFileError
from explorer.importers import detect_format, list_formats
from explorer.importers.options import COMMON
from explorer.outward import FORMATS
from explorer.ui.import_page import samples
from explorer.ui.import_page.fields import MODEL, MORE, NOT_HERE
from explorer.ui.server import imports
from explorer.ui.server.imports import ForeignFile, ImportManager, file_below, safe_name
from explorer.ui.server.services import services
from explorer.ui.shared.import_report import in_page_words

NOT_OFFERED = {"reference", "run_id"}
"""Options of the command line alone: a folder of the host, and a name that could meet another's."""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of uploads, empty at first."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def routes(folder: Path) -> Path:
    """A route log, whose number of experts has to be asked."""
    folder.mkdir(exist_ok=True)
    return SAMPLES["moe_routes"][1](folder).path


def uploads(temporary: Path) -> list[str]:
    return [path.name for path in temporary.glob("explorer-upload-*/*")]


def until_done(app: AppTest) -> AppTest:
    """Run the page until its import has ended."""
    job = app.session_state["import_job"]
    wait_for(lambda: not job.is_open)
    return app.run()


def test_an_upload_is_detected_asked_about_imported_and_deleted(
    open_app: Opener, tmp_path: Path, temporary: Path
) -> None:
    file = routes(tmp_path / "files")
    app = open_app(page="import")
    app.file_uploader[0].upload(file.name, file.read_bytes(), "application/json").run()
    assert not app.exception
    assert app.selectbox(key="import_format").value == "moe_routes"
    assert uploads(temporary) == [file.name]
    app.button(key="import_start").click().run()
    until_done(app)
    assert "fill in num\\_experts, e.g." in words(app)
    assert uploads(temporary) == [file.name], "the visitor corrects the options and tries again"
    app.text_input(key="import_num_experts").set_value("2").run()
    app.text_input(key="import_name").set_value("my trace").run()
    app.button(key="import_start").click().run()
    until_done(app)
    assert app.error
    assert app.selectbox(key="import_format").value == "moe_routes"
    assert app.text_input(key="import_num_experts").value == "2", "a failed import keeps the answers"
    assert app.text_input(key="import_name").value == "my trace"
    app.text_input(key="import_num_experts").set_value("8").run()
    app.button(key="import_start").click().run()
    until_done(app)
    assert not app.exception
    assert "1 run imported" in "\n".join(message.value for message in app.success)
    assert "**Assumed**" in words(app)
    assert uploads(temporary) == []
    (run,) = services().settings.own_runs.glob("imported-*")
    assert (run / "import_report.json").exists()
    app.button(key=f"import_delete_{run.name}").click().run()
    assert not app.exception
    assert not run.exists()
    assert "is deleted" in "\n".join(message.value for message in app.info)
    assert app.button[-1].label == "Import another file"


@pytest.mark.parametrize("to", samples.FILES)
def test_a_sample_is_a_file_that_the_page_accepts(to: str, recorded: Path, tmp_path: Path) -> None:
    (run,) = [path.parent for path in sorted(recorded.glob("*/run.json"))][:1]
    file = tmp_path / samples.FILES[to]
    file.write_bytes(samples.sample(run, to))
    assert detect_format(file) == FORMATS[to].import_as


def test_only_a_run_of_this_import_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    manager = ImportManager(tmp_path)
    job = imports.ImportJob(file=ForeignFile(tmp_path / "a.csv"), child=None)  # type: ignore[arg-type]
    with pytest.raises(ForeignFileError, match="is no run of this import"):
        manager.delete_run(job, "other")
    assert (tmp_path / "other").exists()


def test_an_imported_run_is_deleted_on_a_later_visit(
    open_app: Opener, tmp_path: Path, recorded: Path
) -> None:
    run = import_one(routes(tmp_path / "files"), tmp_path / "import", num_experts="8", name="old trace")
    run.path.parent.rename(tmp_path / "own")
    app = open_app(page="import")
    (listed,) = [box for box in app.expander if box.label.startswith("Imported runs")]
    assert "old trace" in "\n".join(text.value for text in listed.markdown)
    app.button(key=f"import_delete_{run.run_id}").click().run()
    assert not app.exception
    assert not (tmp_path / "own" / run.run_id).exists()
    assert not [box for box in app.expander if box.label.startswith("Imported runs")]


def test_a_trained_run_is_never_deleted(recorded: Path, tmp_path: Path) -> None:
    manager = ImportManager(recorded)
    trained = next(path.parent.name for path in recorded.glob("*/run.json"))
    for name in (trained, f"../{recorded.name}/{trained}", ".."):
        with pytest.raises(ForeignFileError, match="is no imported run"):
            manager.delete_imported(name)
    assert (recorded / trained).exists()
    with pytest.raises(ForeignFileError, match="only shows runs"):
        ImportManager(recorded, read_only=True).delete_imported(trained)


def test_choosing_another_file_deletes_the_upload(open_app: Opener, tmp_path: Path, temporary: Path) -> None:
    app = open_app(page="import")
    app.file_uploader[0].upload("notes.txt", b"nothing that any format knows\n", "text/plain").run()
    assert "shows the signs of no known format" in words(app)
    assert "choose the format above" in words(app)
    assert app.selectbox(key="import_format").value is None
    assert uploads(temporary) == ["notes.txt"]
    app.button[0].click().run()
    assert uploads(temporary) == []
    assert app.file_uploader


def test_an_empty_or_a_large_upload_is_refused(
    open_app: Opener, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPLORER_LIMITS", "upload_mb=1")
    app = open_app(page="import")
    app.file_uploader[0].upload("empty.csv", b"", "text/csv").run()
    assert "is empty" in words(app)
    app.file_uploader[0].upload("large.csv", b"x" * (2**20 + 1), "text/csv").run()
    assert "is larger than 1 MB" in words(app)
    assert uploads(temporary) == []


def test_a_path_needs_a_folder_of_the_host(
    open_app: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = routes(tmp_path / "files")
    assert not open_app(page="import").text_input
    monkeypatch.setenv("EXPLORER_IMPORT_DIR", str(tmp_path / "files"))
    app = open_app(page="import")
    app.text_input(key="import_path").set_value(file.name)
    app.button[0].click().run()
    assert app.selectbox(key="import_format").value == "moe_routes"
    app.text_input(key="import_num_experts").set_value("8").run()
    app.button(key="import_start").click().run()
    until_done(app)
    assert app.success
    assert file.exists(), "a file of the host stays"


@pytest.mark.parametrize("text", ["", ".", "..", "../secret.csv", "missing.csv", "link.csv", "a\0b"])
def test_no_path_leads_out_of_the_folder(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (tmp_path / "secret.csv").write_text("layer,expert\n0,0\n")
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    (folder / "fine.csv").write_text("layer,expert\n0,0\n")
    assert file_below(folder, "fine.csv").path == (folder / "fine.csv").resolve()
    with pytest.raises(ConfigError, match="below the folder of this host"):
        file_below(folder, str(tmp_path / "secret.csv"))
    with pytest.raises(ConfigError, match="below the folder of this host"):
        file_below(folder, text)


def test_an_app_that_only_shows_has_no_uploader(open_app: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORER_READ_ONLY", "1")
    app = open_app(page="import")
    assert not app.file_uploader
    assert "only shows runs" in words(app)
    with pytest.raises(ForeignFileError, match="only shows runs"):
        services().imports.start(ForeignFile(Path(__file__)), "table", {})


def test_an_upload_nobody_holds_any_more_is_deleted(temporary: Path) -> None:
    """As the session does that ends, with everything in it."""
    file = ForeignFile.of_upload("a.csv", b"x")
    assert uploads(temporary) == ["a.csv"]
    del file
    gc.collect()
    assert uploads(temporary) == []


def test_a_server_that_ends_deletes_every_upload(temporary: Path, tmp_path: Path) -> None:
    kept = ForeignFile.of_upload("a.csv", b"x")
    ImportManager(tmp_path).close()
    assert not kept.path.exists()


def test_a_killed_server_s_uploads_are_deleted_a_day_later(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (temporary / "explorer-upload-old").mkdir()
    ImportManager(tmp_path)
    assert (temporary / "explorer-upload-old").exists()
    now = time.time()
    monkeypatch.setattr(imports.time, "time", lambda: now + imports.ABANDONED_S + 60)
    ImportManager(tmp_path)
    assert not (temporary / "explorer-upload-old").exists()


@pytest.mark.parametrize(
    ("name", "safe"),
    [("../../etc/passwd", "passwd"), ("..", "upload"), ("--runs.csv", "runs.csv"), ("a\0b.pt", "a_b.pt")],
)
def test_the_name_of_an_upload_is_made_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_every_option_has_a_field() -> None:
    known = {*COMMON, *(name for form in list_formats() for name in form.options)}
    assert known >= NOT_HERE
    assert known - NOT_OFFERED - NOT_HERE == {*MODEL, *MORE}


def test_a_question_names_the_field() -> None:
    sentence = "a.jsonl: does not say it; give it with --option num_experts=…, e.g. --option num_experts=60."
    assert in_page_words(sentence) == "a.jsonl: does not say it; fill in num_experts, e.g. 60."


def test_replay_shows_the_report_of_an_imported_run(open_app: Opener, tmp_path: Path) -> None:
    run = import_one(routes(tmp_path / "files"), tmp_path / "import", num_experts="8")
    doubts = sum(entry["severity"] != "note" for entry in run.report)
    run.path.parent.rename(tmp_path / "own")
    app = open_app(page="replay", run=run.run_id)
    assert not app.exception
    (report,) = [box for box in app.expander if box.label.startswith("Imported")]
    assert report.label == f"Imported: assumptions and doubts ({doubts})"
    text = "\n".join(text.value for text in report.markdown)
    assert "import the file again with balancer, e.g. loss" in text
    assert "--option" not in text
    assert "No expert biases and no losses" in words(app)
    assert "Bias trajectories" not in words(app)


def test_compare_shows_the_reports_of_imported_runs(open_app: Opener, tmp_path: Path) -> None:
    runs = [
        import_one(routes(tmp_path / "files"), tmp_path / "import", num_experts="8", name=name, phase=phase)
        for name, phase in (("one", "prefill"), ("two", "decode"))
    ]
    runs[0].path.parent.rename(tmp_path / "own")
    app = open_app(page="compare", runs=[run.run_id for run in runs])
    assert not app.exception
    labels = [box.label for box in app.expander if box.label.startswith("Imported")]
    assert [label.partition(": ")[2].partition(": ")[2] for label in labels] == [
        "one (prefill)",
        "two (decode)",
    ]
    assert "differ in unit, scope or phase" in words(app)
    assert "No biases are recorded for these runs." in words(app)


def test_a_run_with_biases_keeps_their_chart(open_app: Opener, tmp_path: Path) -> None:
    sample = sample_training_csv(tmp_path)
    run = import_one(sample.path, tmp_path / "import", **sample.options)
    run.path.parent.rename(tmp_path / "own")
    app = open_app(page="replay", run=run.run_id)
    assert "Bias trajectories" in words(app)


def test_a_report_of_a_hostile_folder_is_text(open_app: Opener, tmp_path: Path) -> None:
    run = import_one(routes(tmp_path / "files"), tmp_path / "import", num_experts="8")
    entries = '[{"severity": "warning", "sentence": "**x**\\n# y"}, {"severity": "odd", "sentence": "z"}, 3]'
    (run.path / "import_report.json").write_text(f'{{"entries": {entries}}}')
    run.path.parent.rename(tmp_path / "own")
    app = open_app(page="replay", run=run.run_id)
    (report,) = [box for box in app.expander if box.label.startswith("Imported")]
    assert report.label.endswith("(1)")
    assert report.markdown[0].value == "**Does not add up**\n\n- \\*\\*x\\*\\* # y"


def test_a_run_of_our_own_has_no_report(open_app: Opener, recorded: Path) -> None:
    app = open_app(recorded, page="replay")
    assert not [box for box in app.expander if box.label.startswith("Imported")]
