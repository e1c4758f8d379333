"""Run folders, and the app on top of them without a browser."""

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import shipped_index
from app_pages import SHIPPED, Opener, opened, use_folders, write_arms
from probe_runs import write_runs_to_compare
from small_pools import pool_of
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from explorer.config.server import Settings
from explorer.figures import simulation, theory
from explorer.ui.server.services import shut_down


@pytest.fixture(scope="session", autouse=True)
def one_look_for_components() -> Iterator[None]:
    """Every `AppTest` looks through all installed packages for Streamlit components, which takes as long as a
    page; a server does so once."""
    with pytest.MonkeyPatch.context() as patch:
        scan = functools.cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", scan)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_runs_of_the_checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A test that names no folders has an app without runs: with the usual folders its thread would read all
    shipped runs into the user's own index, for as long as a hundred tests take."""
    with pytest.MonkeyPatch.context() as patch:
        use_folders(patch, None, tmp_path_factory.mktemp("nowhere"))
        yield
        shut_down(Settings.from_environment())


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four arms of two seeds."""
    folder = tmp_path_factory.mktemp("recorded")
    write_arms(folder)
    return folder


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Own runs and index for all tests that only look at `recorded`: it is read once."""
    yield tmp_path_factory.mktemp("shared")
    shut_down()


WITHOUT_RUNS = ("playground", "theory", "glossary", "lessons")
"""Pages that open without a run and start none."""
DEPLOYED = ("EXPLORER_READ_ONLY", "EXPLORER_LIMITS", "EXPLORER_IMPORT_DIR")
"""Settings of a host, with which an app is another one."""


Folders = tuple[Path | None, Path | None]
"""Shipped runs and own runs that tests only look at."""


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Folders], Path]]:
    """A factory: a folder with the index for all tests of a module that only look at these runs."""
    made: dict[Folders, Path] = {}

    def base_of(folders: Folders) -> Path:
        if folders not in made:
            made[folders] = tmp_path_factory.mktemp("base")
        return made[folders]

    yield base_of
    for (shipped, own), base in made.items():
        with pytest.MonkeyPatch.context() as patch:
            use_folders(patch, shipped, base, own)
            shut_down(Settings.from_environment())


@pytest.fixture
def open_app(
    tmp_path: Path,
    shared: Path,
    bases: Callable[[Folders], Path],
    recorded: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Opener]:
    """`open_app(shipped, page="compare", runs=[...])`: the app, run once.

    Own runs lie in `tmp_path / "own"`, if a test wrote some there. Runs of a module, shipped or (`own=`) its
    own, lie outside `tmp_path` and are read once for all of its tests.
    """
    settings: list[Settings] = []

    def only_looks(folders: Folders, page: str) -> bool:
        if (tmp_path / "own").exists() or any(map(os.environ.get, DEPLOYED)):
            return False
        named = [folder for folder in folders if folder is not None]
        return not any(f.is_relative_to(tmp_path) for f in named) if named else page in WITHOUT_RUNS

    def open_page(
        shipped: Path | None = None, page: str = "overview", own: Path | None = None, **query: object
    ) -> AppTest:
        base, folders = tmp_path, (shipped, own)
        if only_looks(folders, page):
            base = shared if folders == (recorded, None) else bases(folders)
        use_folders(monkeypatch, shipped, base, own)
        if base == tmp_path:
            settings.append(Settings.from_environment())
        return opened(page, query)

    yield open_page
    for one in settings:
        shut_down(one)


@pytest.fixture(scope="session")
def shipped_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Own runs and index beside the shipped runs."""
    return shipped_index.copied(tmp_path_factory, tmp_path_factory.mktemp("shipped")).parent


@pytest.fixture
def open_shipped(shipped_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Opener:
    """`open_shipped("lessons", lesson="...")`: the app on the shipped runs, run once."""

    def open_page(page: str = "overview", **query: object) -> AppTest:
        use_folders(monkeypatch, SHIPPED, shipped_folder)
        return opened(page, query)

    return open_page


@pytest.fixture
def shipped_runs(open_shipped: Opener) -> None:
    """The index of the shipped runs."""
    open_shipped("glossary")


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A loss-free run and one without balancing, both with a probe; and one without a probe."""
    folder = tmp_path_factory.mktemp("probed")
    write_runs_to_compare(folder)
    return folder


@pytest.fixture(scope="module")
def small_pool() -> Iterator[None]:
    """A smaller pool of scores for Playground and Theory."""
    with pool_of(2**17, simulation.simulated.cache_clear, theory.online.cache_clear):
        yield
