"""What the server prepares before the first visit is what the first page asks for."""

import gc
import runpy
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from app_pages import Opener

from explorer.cli import app as app_command
from explorer.figures import balance
from explorer.figures.store import run_query
from explorer.queries import balance as queries
from explorer.ui import warm_up
from explorer.ui.shared import store


def prepare() -> None:
    thread = warm_up.WarmUp(rest_after_s=0.0, arrival_s=0.0)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def test_the_first_page_finds_its_picture_prepared(
    open_app: Opener, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_app(recorded, "glossary")
    st.cache_resource.clear()
    prepare()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the picture is drawn again")

    monkeypatch.setattr(balance.story, "story", refuse)
    app = open_app(recorded)
    assert not app.exception
    assert len(app.get("vega_lite_chart")) == 1


def test_compare_finds_the_random_routing_baselines_simulated(
    open_app: Opener, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_app(recorded, "glossary")
    st.cache_resource.clear()
    monkeypatch.setattr(warm_up, "OTHER_PAGES", ())
    prepare()

    calls: list[Any] = []

    def listen(index: Any, query: Any, runs: Any, *args: Any, **settings: Any) -> Any:
        calls.append((query, settings))
        return run_query(index, query, runs, *args, **settings)

    monkeypatch.setattr(store, "run_query", listen)
    app = open_app(recorded, "compare")
    assert not app.exception
    assert (queries.references, {}) not in calls, "none is simulated on a visit"
    st.cache_resource.clear()
    app.run()
    assert (queries.references, {}) in calls, "the page needs one"


def test_the_other_pages_are_imported_and_what_stays_is_not_collected_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frozen: list[set[str]] = []
    monkeypatch.setattr(warm_up, "_baselines", lambda: None)
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(set(sys.modules)))
    prepare()
    (modules,) = frozen
    assert {f"explorer.ui.{name}.page" for name in warm_up.OTHER_PAGES} <= modules
    assert set(warm_up.LAZY_LIBRARIES) <= modules
    config = Path(__file__).parents[2] / ".streamlit" / "config.toml"
    assert tomllib.loads(config.read_text(encoding="utf-8"))["runner"]["postScriptGC"] is False


def test_no_garbage_is_looked_for_until_everything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    is_on: dict[str, bool] = {}

    def note(name: str) -> None:
        is_on[name] = gc.isenabled()

    monkeypatch.setattr(warm_up, "OTHER_PAGES", ())
    monkeypatch.setattr(warm_up.WarmUp, "_start_services", lambda _: note("services"))
    for name in ("_first_page", "load_pandas", "freeze_memory", "_baselines"):
        monkeypatch.setattr(warm_up, name, partial(note, name))
    prepare()
    loading = dict.fromkeys(("services", "_first_page", "load_pandas", "freeze_memory"), False)
    assert is_on == {**loading, "_baselines": True}


def test_garbage_is_looked_for_again_where_loading_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ImportError("broken")

    monkeypatch.setattr(warm_up.WarmUp, "_start_services", lambda _: None)
    monkeypatch.setattr(warm_up, "_first_page", fail)
    with pytest.raises(ImportError):
        warm_up.WarmUp(rest_after_s=0.0, arrival_s=0.0).run()
    assert gc.isenabled()


def test_the_command_loads_streamlit_without_looking_for_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    is_on: list[bool] = []
    monkeypatch.setattr(app_command, "_hang_up_as_terminate", lambda: None)
    monkeypatch.setattr(runpy, "run_module", lambda *_, **__: is_on.append(gc.isenabled()))
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.chdir(Path.cwd())
    app_command.serve([])
    assert is_on == [False]
    assert gc.isenabled()


def test_an_image_can_compile_everything_a_server_loads_without_starting_one() -> None:
    code = (
        "import sys, threading; from explorer.ui import warm_up; warm_up.compile_all();"
        "print(*(name in sys.modules for name in (*warm_up.SERVER, *warm_up.LAZY_LIBRARIES, 'pandas',"
        "'explorer.ui.compare.page', 'explorer.ui.theory.page')), len(threading.enumerate()) == 1)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(result.stdout.split()) == {"True"}
