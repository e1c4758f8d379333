"""Every page opens after every other one, as the links at the top do it."""

import copyreg
from copy import copy, deepcopy
from itertools import permutations
from pathlib import Path
from types import MappingProxyType

import pytest
from app_pages import Opener
from probe_runs import write_probe_run
from store_runs import write_run
from streamlit.testing.v1 import AppTest

PAGES = sorted(page.stem for page in (Path(__file__).parents[2] / "pages").glob("*.py"))


@pytest.fixture(scope="module")
def with_probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two and of three layers, one with a probe batch: without it the Microscope has no controls."""
    folder = tmp_path_factory.mktemp("with_probe")
    write_probe_run(folder, "loss_free-seed0")
    write_run(folder, "deeper", steps=24, layers=3)
    return folder


def copy_of(app: AppTest) -> AppTest:
    """The session as it stands, so that it can go on in several ways."""
    twin, state = copy(app), app._session_state
    twin._session_state = type(state)(deepcopy(state._state), state._yield_callback)
    twin.session_state = type(app.session_state)(twin._session_state)
    twin._tree = copy(app._tree)
    twin._tree._runner = twin
    twin._fragment_storage = type(app._fragment_storage)()
    twin.query_params = deepcopy(app.query_params)
    return twin


@pytest.fixture
def copyable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session's state holds proxies of dictionaries, which cannot be copied otherwise."""
    monkeypatch.setitem(
        copyreg.dispatch_table, MappingProxyType, lambda proxy: (MappingProxyType, (dict(proxy),))
    )


def go(app: AppTest, page: str) -> str:
    """Open another page in this session; the error that it shows, or an empty string."""
    app.switch_page(f"../../pages/{page}.py").run()
    return f"{page}: {app.exception[0].message}" if app.exception else ""


@pytest.mark.parametrize("order", [PAGES, PAGES[::-1]], ids=["forwards", "backwards"])
def test_every_page_opens_in_a_session_that_has_seen_the_others(
    open_app: Opener, with_probe: Path, order: list[str]
) -> None:
    """Both ways, so that each page comes after each other one."""
    app = open_app(with_probe, order[0])
    failures = [failure for page in order[1:] if (failure := go(app, page))]
    assert not failures


SHELL = {"export_choice"}
"""State that pages with figures share on purpose; other shared state is that of every page."""


@pytest.mark.usefixtures("copyable")
def test_pages_that_keep_state_under_one_name_open_directly_after_each_other(
    open_app: Opener, with_probe: Path
) -> None:
    """In a session of its own for each pair: what one page leaves is only missed the first time."""
    opened = {page: open_app(with_probe, page) for page in PAGES}
    names = {page: set(app._session_state._state._new_session_state) for page, app in opened.items()}
    of_every_page = set.intersection(*names.values()) | SHELL
    pairs = [(a, b) for a, b in permutations(PAGES, 2) if (names[a] & names[b]) - of_every_page]
    assert {("compare", "replay"), ("replay", "microscope"), ("microscope", "serving")} <= set(pairs)
    failures = [f"{a}, {failure}" for a, b in pairs if (failure := go(copy_of(opened[a]), b))]
    assert not failures


def test_the_layer_that_was_chosen_goes_with_the_visitor(open_app: Opener, with_probe: Path) -> None:
    app = open_app(with_probe, "compare")
    app.segmented_control(key="layer").set_value(1).run()
    app.switch_page("../../pages/replay.py").run()
    assert not app.exception
    assert app.segmented_control(key="layer").value == 1


def test_another_run_with_other_layers_keeps_the_layer_that_both_have(
    open_app: Opener, with_probe: Path
) -> None:
    app = open_app(with_probe, "replay", run="loss_free-seed0", layer="1")
    app.selectbox(key="run").set_value("deeper").run()
    assert not app.exception
    assert app.segmented_control(key="layer").value == 1
