"""What the shell says about the index, and what it never loads."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from app_pages import Opener, charts, words
from sentences import sentence
from store_runs import write_run

from explorer.config.places import ROOT
from explorer.config.server import Settings
from explorer.figures.arms import Run
from explorer.figures.views import microscope
from explorer.ui.shared import shell

HOLD = """
import sys
from pathlib import Path
from explorer.store import Index
with Index.open(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_an_index_of_another_process_is_said_and_the_app_works(
    open_app: Opener, recorded: Path, tmp_path: Path
) -> None:
    (tmp_path / "own").mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "index.duckdb")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "held"
        app = open_app(recorded)
        assert f"process {holder.pid}" in "\n".join(w.value for w in app.warning)
        assert charts(app) == 1
    finally:
        holder.communicate("")


def test_while_the_runs_are_read_for_the_first_time_the_page_says_how_far(
    open_app: Opener, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell, "is_reading", lambda: True)
    monkeypatch.setattr(shell, "_wait", lambda condition, seconds: None)
    monkeypatch.setattr(shell, "_folders", lambda folder: {str(n) for n in range(6)})
    app = open_app(recorded)
    assert sentence("shell.reading_runs", done=8, all=12) in words(app)
    assert charts(app) == 1, "what is known already is shown"


@pytest.mark.parametrize("page", shell.WITHOUT_RUNS)
def test_a_page_without_runs_is_not_redrawn_while_runs_are_being_read(
    open_app: Opener, recorded: Path, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    """A redraw would interrupt the dragging of a slider."""
    clocks: list[str] = []
    monkeypatch.setattr(shell, "is_reading", lambda: True)
    monkeypatch.setattr(shell, "_wait", lambda condition, seconds: None)
    monkeypatch.setattr(shell, "_follow_reading", lambda: clocks.append("runs"))
    open_app(recorded, page=page)
    assert not clocks
    open_app(recorded, page="serving")
    assert clocks == ["runs"]


def test_elements_below_a_status_banner_keep_their_place_when_it_disappears(
    open_app: Opener, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the browser would recreate them, including any control in use."""

    def place_of_the_title(is_reading: bool) -> list[int]:
        monkeypatch.setattr(shell, "is_reading", lambda: is_reading)
        children = open_app(recorded, page="serving").main.children
        return [place for place, element in children.items() if element.type == "title"]

    monkeypatch.setattr(shell, "_wait", lambda condition, seconds: None)
    monkeypatch.setattr(shell, "_folders", lambda folder: {str(n) for n in range(6)})
    assert place_of_the_title(True) == place_of_the_title(False) != []


def test_a_link_waits_for_a_run_that_was_started_a_moment_ago(open_app: Opener, tmp_path: Path) -> None:
    open_app()
    write_run(tmp_path / "own", "fresh", steps=5)
    app = open_app(page="replay", run="fresh")
    assert not app.info
    assert app.selectbox(key="run").value == "fresh"


def test_a_link_to_a_folder_without_a_run_is_not_waited_for_again(
    open_app: Opener, recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own" / "empty").mkdir(parents=True)
    waits: list[float] = []
    monkeypatch.setattr(shell, "_wait", lambda condition, seconds: waits.append(seconds))
    app = open_app(recorded, page="replay", run="empty")
    assert waits == [shell.NAMED_RUN_LIMIT_S]
    assert sentence("replay.no_such_run", run="empty") in words(app)
    app.run()
    assert len(waits) == 1


def test_a_problem_of_the_ingest_is_shown(
    open_app: Opener, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from explorer.errors import ExplorerError
    from explorer.ui.server.services import services

    def fails(*_: object) -> None:
        raise ExplorerError("The index cannot be written (disk full); free some space.")

    open_app(recorded)
    ingest = services().ingest
    monkeypatch.setattr(services().index, "ingest", fails)
    end = time.monotonic() + 60
    while not ingest.problem and time.monotonic() < end:
        ingest.wake()
        time.sleep(0.02)
    assert "disk full" in words(open_app(recorded))


def test_microscope_and_gallery_fill_up_with_the_first_run_they_can_show(
    open_app: Opener, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conditions: list[Callable[[Sequence[Run]], bool]] = []
    monkeypatch.setattr(shell, "follow_until", conditions.append)
    open_app(page="microscope")
    open_app(page="gallery")
    probed, shipped = conditions
    assert not shipped([])
    runs = open_app(recorded, page="gallery").session_state["shell"][0]
    assert shipped([replace(run, shipped=True, state="finished") for run in runs])
    assert not probed(runs), "none of these keeps a probe batch"
    monkeypatch.setattr(microscope, "runs_with_probe", lambda store, known, arms: (known, {}))
    assert probed(runs), "and now they do"


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("EXPLORER_RUNS", "EXPLORER_SHIPPED_RUNS", "EXPLORER_INDEX"):
        monkeypatch.delenv(name, raising=False)
    usual = Settings.from_environment()
    assert usual.runs_dirs == (ROOT / "runs", ROOT / "data" / "runs")
    assert usual.index is None
    monkeypatch.setenv("EXPLORER_RUNS", str(tmp_path))
    monkeypatch.setenv("EXPLORER_INDEX", str(tmp_path / "index.duckdb"))
    changed = Settings.from_environment()
    assert (changed.own_runs, changed.index) == (tmp_path, tmp_path / "index.duckdb")


def test_an_edited_file_reloads_nothing_under_a_running_training() -> None:
    import tomllib

    file = Path(__file__).parents[2] / ".streamlit" / "config.toml"
    server = tomllib.loads(file.read_text(encoding="utf-8"))["server"]
    assert server["fileWatcherType"] == "none"
    assert server["address"] == "127.0.0.1"
