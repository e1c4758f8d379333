"""Run folders, and the app on top of them without a browser."""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from store_runs import write_run
from streamlit.testing.v1 import AppTest

from explorer.config.presets import get_preset, preset_balancer
from explorer.config.run import RunConfig
from explorer.store import Index
from explorer.ui.server.services import services, shut_down
from explorer.ui.server.settings import Settings

MAIN = Path(__file__).parents[2] / "explorer" / "ui" / "main.py"
ARMS = {
    "none": "none",
    "aux_loss:scope=sequence": "sequence",
    "aux_loss": "global",
    "loss_free": "loss_free",
}
TIMEOUT_S = 120
"""Not a goal: a busy machine must not fail a test."""


def arm_info(text: str, seed: int, base: RunConfig | None = None) -> dict[str, object]:
    """What run.json says of a run with this balancer."""
    config = base or get_preset("tiny")
    balancer = preset_balancer("tiny", text)
    return {
        "balancer": str(balancer),
        "balancer_label": balancer.label,
        "balancer_family": balancer.family,
        "count_scope": balancer.count_scope,
        "seed": seed,
        "preset": "tiny",
        "pair_key": config.pair_key,
        "config": config.to_dict(),
        "created_at": f"2026-11-22T10:00:0{seed}.000+00:00",
    }


def write_arms(folder: Path, seeds: tuple[int, ...] = (0, 1)) -> None:
    """Four arms with every seed, 24 steps each."""
    for text, name in ARMS.items():
        for seed in seeds:
            info = arm_info(text, seed)
            del info["seed"]
            write_run(folder, f"{name}-seed{seed}", steps=24, seed=seed, bias=text == "loss_free", **info)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four arms of two seeds."""
    folder = tmp_path_factory.mktemp("recorded")
    write_arms(folder)
    return folder


Opener = Callable[..., AppTest]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Own runs and index for all tests that only look at `recorded`: it is read once."""
    yield tmp_path_factory.mktemp("shared")
    shut_down()


WITHOUT_RUNS = ("playground", "theory", "glossary", "lessons")
"""Pages that open without a run and start none."""
DEPLOYED = ("EXPLORER_READ_ONLY", "EXPLORER_LIMITS", "EXPLORER_IMPORT_DIR")
"""Settings of a host, with which an app is another one."""


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path | None], Path]]:
    """A factory: own runs and index for all tests of a module that only look at these shipped runs."""
    made: dict[Path | None, Path] = {}

    def base_of(shipped: Path | None) -> Path:
        if shipped not in made:
            made[shipped] = tmp_path_factory.mktemp("base")
        return made[shipped]

    yield base_of
    for shipped, base in made.items():
        with pytest.MonkeyPatch.context() as patch:
            _use_folders(patch, shipped or base / "nothing", base)
            shut_down(Settings.from_environment())


@pytest.fixture
def open_app(
    tmp_path: Path,
    shared: Path,
    bases: Callable[[Path | None], Path],
    recorded: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Opener]:
    """`open_app(shipped, page="compare", runs=[...])`: the app, run once.

    Own runs lie in `tmp_path / "own"`, if a test wrote some there. Shipped runs of a module, outside
    `tmp_path`, are read once for all of its tests.
    """
    settings: list[Settings] = []

    def only_looks(shipped: Path | None, page: str) -> bool:
        if (tmp_path / "own").exists() or any(map(os.environ.get, DEPLOYED)):
            return False
        return page in WITHOUT_RUNS if shipped is None else not shipped.is_relative_to(tmp_path)

    def open_page(shipped: Path | None = None, page: str = "overview", **query: object) -> AppTest:
        base = tmp_path
        if only_looks(shipped, page):
            base = shared if shipped == recorded else bases(shipped)
        _use_folders(monkeypatch, shipped or base / "nothing", base)
        if base == tmp_path:
            settings.append(Settings.from_environment())
        return _opened(page, query)

    yield open_page
    for one in settings:
        shut_down(one)


def _use_folders(monkeypatch: pytest.MonkeyPatch, shipped: Path, base: Path) -> None:
    """The app reads these shipped runs; its own runs and its index lie in `base`."""
    monkeypatch.setenv("EXPLORER_SHIPPED_RUNS", str(shipped))
    monkeypatch.setenv("EXPLORER_RUNS", str(base / "own"))
    monkeypatch.setenv("EXPLORER_INDEX", str(base / "index.duckdb"))


def _opened(page: str, query: dict[str, object]) -> AppTest:
    """A page, run once, after the runs have been read."""
    owner = services()
    while owner.ingest.rounds == 0:
        time.sleep(0.02)
    app = AppTest.from_file(str(MAIN), default_timeout=TIMEOUT_S)
    for name, value in query.items():
        app.query_params[name] = value  # type: ignore[assignment]
    if page != "overview":
        # The page must be known before the first run: that run is the deep link.
        app.switch_page(f"../../pages/{page}.py")
    return app.run()


def words(app: AppTest) -> str:
    """Every text of the page: title, headings, paragraphs, captions and messages."""
    kinds = (
        app.title,
        app.header,
        app.subheader,
        app.markdown,
        app.caption,
        app.info,
        app.warning,
        app.error,
    )
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def charts(app: AppTest) -> int:
    """Altair figures on the page."""
    return len(app.get("vega_lite_chart"))


def load_maps(app: AppTest) -> list[dict[str, Any]]:
    """What the heatmaps that are drawn on a canvas were sent."""
    protos = [element.proto for element in app.get("bidi_component")]
    return [json.loads(proto.json) for proto in protos if proto.component_name.endswith("moe_load_map")]


SHIPPED = Path(__file__).parents[2] / "data" / "runs"


@pytest.fixture(scope="session")
def shipped_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Own runs and index beside the shipped runs, which one worker reads for all tests of all workers."""
    folder, shared = tmp_path_factory.mktemp("shipped"), tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    index = shared / "shipped.duckdb"
    with (shared / "shipped.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not index.exists():
            with Index.open(folder / "index.duckdb") as built:
                built.ingest([SHIPPED])
            shutil.copyfile(folder / "index.duckdb", index)
        else:
            shutil.copyfile(index, folder / "index.duckdb")
    return folder


@pytest.fixture
def open_shipped(shipped_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Opener:
    """`open_shipped("lessons", lesson="...")`: the app on the shipped runs, run once."""

    def open_page(page: str = "overview", **query: object) -> AppTest:
        _use_folders(monkeypatch, SHIPPED, shipped_folder)
        return _opened(page, query)

    return open_page
