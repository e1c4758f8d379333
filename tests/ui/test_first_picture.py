"""The first picture of the Overview, as a fresh server sends it before it loads its libraries."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from app_pages import MAIN, Opener, charts
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from store_runs import write_run
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.testing.v1 import AppTest

from explorer.config.server import Settings
from explorer.ui import frame
from explorer.ui.server import first_picture, first_visit, preload
from explorer.ui.server.services import services


@pytest.fixture(autouse=True)
def no_visit_afterwards() -> Iterator[None]:
    yield
    first_visit.begin(())


MESSAGES = (ForwardMsg(hash="one"), ForwardMsg(hash="two"))


@pytest.fixture
def kept(tmp_path: Path) -> Settings:
    """Settings with one run, an index and a picture of both."""
    settings = Settings(
        own_runs=tmp_path / "own", shipped_runs=tmp_path / "shipped", index=tmp_path / "index.duckdb"
    )
    run = settings.shipped_runs / "run"
    run.mkdir(parents=True)
    for file in (run / "status.json", run / "loads.parquet", tmp_path / "index.duckdb"):
        file.write_text(file.name)
    first_picture.write(settings, first_picture.state_of(settings), MESSAGES)
    assert first_picture.read(settings) == MESSAGES
    return settings


@pytest.mark.parametrize("name", ["run/status.json", "run/loads.parquet", "another"])
def test_a_picture_of_other_runs_is_not_shown(name: str, kept: Settings) -> None:
    (kept.shipped_runs / name).write_text("changed")
    assert first_picture.read(kept) == ()


def test_a_picture_of_other_settings_or_another_program_is_not_shown(
    kept: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert first_picture.read(replace(kept, read_only=True)) == ()
    monkeypatch.setattr(first_picture, "_program", lambda: ("another",))
    assert first_picture.read(kept) == ()


def test_the_program_is_all_that_a_page_is_made_of() -> None:
    _, _, files = first_picture._program()
    names = {Path(name).relative_to(first_picture.ROOT).as_posix() for name, _ in files}
    assert {"app.py", "pages/overview.py", ".streamlit/config.toml", "explorer/charts/theme.py"} <= names
    assert {
        "explorer/ui/components/opening/opening.js",
        "explorer/ui/components/opening/opening.css",
    } <= names


@pytest.mark.parametrize("damage", [lambda whole: whole[:-1], lambda whole: whole[:64], lambda whole: b""])
def test_a_damaged_picture_is_not_shown(damage: Callable[[bytes], bytes], kept: Settings) -> None:
    path = first_picture.path_of(kept)
    assert path is not None
    path.write_bytes(damage(path.read_bytes()))
    assert first_picture.read(kept) == ()


def test_a_picture_without_its_index_is_not_shown(kept: Settings, tmp_path: Path) -> None:
    (tmp_path / "index.duckdb").unlink()
    assert first_picture.read(kept) == ()


@pytest.fixture
def picture(open_app: Opener, recorded: Path) -> tuple[ForwardMsg, ...]:
    """What a visit of the Overview has left."""
    assert not open_app(recorded).exception
    return first_picture.read(Settings.from_environment())


def test_a_visit_keeps_the_page_up_to_its_first_chart(picture: tuple[ForwardMsg, ...]) -> None:
    kinds = [message.delta.new_element.WhichOneof("type") for message in picture]
    assert kinds.count("bidi_component") == 1
    assert kinds.count("vega_lite_chart") == 1
    assert kinds[-1] == "vega_lite_chart"


def test_nothing_is_kept_while_a_run_grows_or_of_another_address(open_app: Opener, tmp_path: Path) -> None:
    write_run(tmp_path / "shipped", "none-seed0", steps=24, balancer="none", finish=False)
    open_app(tmp_path / "shipped")
    open_app(tmp_path / "shipped", mode="lecture")
    path = first_picture.path_of(Settings.from_environment())
    assert path is not None
    assert not path.exists()


def test_a_page_with_a_notice_is_not_kept(
    open_app: Opener, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_app(recorded)
    settings = Settings.from_environment()
    path = first_picture.path_of(settings)
    assert path is not None
    path.unlink()
    monkeypatch.setattr(services().index, "notice", "Another process owns the index.")
    app = open_app(recorded)
    assert not path.exists()
    monkeypatch.undo()
    monkeypatch.setattr(Settings, "from_environment", lambda: settings)
    app.run()
    assert path.exists(), "a later run of the same visit keeps it"


def first_run(picture: tuple[ForwardMsg, ...], monkeypatch: pytest.MonkeyPatch, **query: str) -> AppTest:
    """What a browser has of the page before its script has loaded anything; nobody waits for it."""
    monkeypatch.setattr(frame, "draw", lambda page: None)
    visit = first_visit.begin(picture)
    visit.on_visit()
    visit.report_drawn()
    app = AppTest.from_file(str(MAIN), default_timeout=120)
    app.query_params.update(query)
    return app.run()


def test_a_fresh_server_sends_the_picture_before_anything_else(
    picture: tuple[ForwardMsg, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = first_run(picture, monkeypatch)
    assert app.title[0].value == "Watch a mixture of experts learn to balance its load"
    assert charts(app) == 1
    assert len(app.get("bidi_component")) == 1


def test_only_the_plain_overview_has_it_and_only_until_the_libraries_are_loaded(
    picture: tuple[ForwardMsg, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert charts(first_run(picture, monkeypatch, mode="lecture")) == 0
    begin = first_visit.begin

    def ended(messages: tuple[ForwardMsg, ...]) -> first_visit.FirstVisit:
        visit = begin(messages)
        visit.end()
        return visit

    monkeypatch.setattr(first_visit, "begin", ended)
    assert charts(first_run(picture, monkeypatch)) == 0


def test_the_page_after_the_picture_is_the_usual_page(
    picture: tuple[ForwardMsg, ...], recorded: Path, open_app: Opener
) -> None:
    usual = open_app(recorded)
    visit = first_visit.begin(picture)
    visit.on_visit()
    visit.report_drawn()
    after = open_app(recorded)
    assert [element.proto for element in after.main] == [element.proto for element in usual.main]


# --- Who waits for it ---


def served() -> TestClient:
    def page(request: Request) -> Response:
        assert "if-none-match" not in request.headers
        return HTMLResponse("<html><head></head></html>")

    routes = [Route(path, page) for path in ("/", "/compare", "/_stcore/health")]
    return TestClient(preload.Preload(Starlette(routes=routes)))


def waiting(visit: first_visit.FirstVisit) -> threading.Thread:
    thread = threading.Thread(target=visit.wait, args=(60.0,), daemon=True)
    thread.start()
    return thread


def test_the_libraries_wait_until_the_browser_reports_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_visit, "DRAWING_S", 60.0)
    visit = first_visit.begin([ForwardMsg()])
    thread, client = waiting(visit), served()
    assert not visit.is_due, "a visitor without a browser waits for nothing"
    assert first_visit.DRAWN in client.get("/", headers={"if-none-match": "x", "accept": "text/html"}).text
    assert visit.is_due
    thread.join(0.05)
    assert thread.is_alive()
    client.get(f"/_stcore/health?{first_visit.DRAWN}")
    thread.join(60)
    assert not thread.is_alive()
    assert first_visit.DRAWN not in client.get("/").text


@pytest.mark.parametrize("address", ["/compare", "/?mode=lecture"])
def test_a_visitor_of_another_address_ends_the_waiting(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_visit, "DRAWING_S", 60.0)
    thread = waiting(first_visit.begin([ForwardMsg()]))
    assert first_visit.DRAWN not in served().get(address).text
    thread.join(60)
    assert not thread.is_alive()


def test_without_a_picture_nobody_waits() -> None:
    visit = first_visit.begin(())
    visit.wait(60.0)
    visit.wait_until_drawn()
    assert visit.on_visit() == b""
