"""Imported runs on every page: one step, no bias, no loss, layers that do not start at 0."""

from pathlib import Path

import numpy as np
import pytest
from app_pages import Opener, charts, words
from count_samples import sample_training_csv
from foreign_files import import_one, random_counts
from foreign_samples import SAMPLES

PAGES = ("overview", "compare", "replay", "microscope", "serving", "gallery", "glossary", "train")


@pytest.fixture
def imported(tmp_path: Path) -> list[str]:
    """A snapshot after dense layers, a series with biases of shares, and one of routes."""
    counts = np.concatenate([np.zeros((3, 8), dtype=np.int64), random_counts(steps=1)[0]])
    np.save(tmp_path / "snapshot.npy", counts)
    sample = sample_training_csv(tmp_path)
    routes = SAMPLES["moe_routes"][1](tmp_path)
    folder = tmp_path / "import"
    runs = [
        import_one(tmp_path / "snapshot.npy", folder, run_id="snapshot"),
        import_one(sample.path, folder, run_id="series", **sample.options),
        import_one(routes.path, folder, run_id="routes", **routes.options),
    ]
    (folder / "runs").rename(tmp_path / "own")
    return [run.run_id for run in runs]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_imported_runs(open_app: Opener, imported: list[str], page: str) -> None:
    app = open_app(page=page, runs=imported)
    assert not app.exception
    assert not app.error
    if page in ("compare", "overview"):
        assert charts(app) >= 1


@pytest.mark.parametrize("run", ["snapshot", "series", "routes"])
def test_an_imported_run_is_replayed(open_app: Opener, imported: list[str], run: str) -> None:
    app = open_app(page="replay", run=run)
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
