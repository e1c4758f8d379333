"""Imported runs on every page: one step, no bias, no loss, layers that do not start at 0."""

from pathlib import Path

import numpy as np
import pytest
from app_pages import Opener, charts, words
from count_samples import sample_training_csv
from foreign_files import import_one, random_counts
from foreign_samples import SAMPLES

PAGES = ("overview", "compare", "replay", "microscope", "serving", "gallery", "glossary", "train")


IMPORTED = ["snapshot", "series", "routes"]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot after dense layers, a series with biases of shares, and one of routes."""
    files = tmp_path_factory.mktemp("files")
    counts = np.concatenate([np.zeros((3, 8), dtype=np.int64), random_counts(steps=1)[0]])
    np.save(files / "snapshot.npy", counts)
    sample = sample_training_csv(files)
    routes = SAMPLES["moe_routes"][1](files)
    folder = files / "import"
    runs = [
        import_one(files / "snapshot.npy", folder, run_id="snapshot"),
        import_one(sample.path, folder, run_id="series", **sample.options),
        import_one(routes.path, folder, run_id="routes", **routes.options),
    ]
    assert [run.run_id for run in runs] == IMPORTED
    return folder / "runs"


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_imported_runs(open_app: Opener, imported: Path, page: str) -> None:
    app = open_app(own=imported, page=page, runs=IMPORTED)
    assert not app.exception
    assert not app.error
    if page in ("compare", "overview"):
        assert charts(app) >= 1


@pytest.mark.parametrize("run", IMPORTED)
def test_an_imported_run_is_replayed(open_app: Opener, imported: Path, run: str) -> None:
    app = open_app(own=imported, page="replay", run=run)
    assert not app.exception
    assert not app.error
    assert charts(app) >= 1
    assert "× the uniform load" in words(app)


def test_a_run_of_losses_alone_opens(open_app: Opener, tmp_path: Path) -> None:
    lines = "".join(f'{{"step": {n}, "train_loss": {4 - n / 10}}}\n' for n in range(9))
    (tmp_path / "log.jsonl").write_text(lines)
    run = import_one(tmp_path / "log.jsonl", tmp_path / "import")
    run.path.parent.rename(tmp_path / "own")
    for page in ("replay", "compare", "overview"):
        app = open_app(page=page, runs=[run.run_id], run=run.run_id)
        assert not app.exception
