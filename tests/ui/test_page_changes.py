"""Every page opens after every other one, as the links at the top do it, in a session of its own."""

import copyreg
from copy import copy, deepcopy
from pathlib import Path
from types import MappingProxyType

import pytest
from conftest import Opener
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


@pytest.mark.parametrize("first", PAGES)
def test_every_page_opens_after_this_one(
    open_app: Opener, with_probe: Path, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session of its own for each pair: what one page leaves for another is only missed the first time."""
    monkeypatch.setitem(
        copyreg.dispatch_table, MappingProxyType, lambda proxy: (MappingProxyType, (dict(proxy),))
    )
    opened = open_app(with_probe, first)
    failures = {}
    for second in [page for page in PAGES if page != first]:
        app = copy_of(opened)
        app.switch_page(f"../../pages/{second}.py").run()
        if app.exception:
            failures[second] = app.exception[0].message
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
