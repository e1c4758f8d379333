"""Nothing half-imported remains: after a refusal, an error, an interrupt, or a kill."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_files import ROOT, import_one, random_counts, random_routes, write_lines
from route_samples import route_records

from explorer.errors import ForeignFileError, RunFolderError
from explorer.importers import import_path
from explorer.importers.formats.arrays import NumpyLoads
from explorer.importers.staging import staging_folder
from explorer.importers.trace import LoadStep
from explorer.recording import list_runs


def test_a_refused_file_leaves_nothing(tmp_path: Path) -> None:
    records = route_records(random_routes())
    records[-1]["topk_ids"] = [1, 99]
    path = write_lines(tmp_path / "moe_routes.jsonl", records)
    with pytest.raises(ForeignFileError, match=r"moe_routes\.jsonl, .*names expert 99"):
        import_one(path, tmp_path, num_experts=8)
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize(
    ("error", "raised"), [(RuntimeError, ForeignFileError), (KeyboardInterrupt, KeyboardInterrupt)]
)
def test_an_error_in_the_middle_leaves_nothing(
    error: type[BaseException], raised: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "x.npy", random_counts())
    read = NumpyLoads.read

    def broken(self: NumpyLoads, *arguments: Any) -> Iterator[Any]:
        for run in read(self, *arguments):
            yield replace(run, steps=stopping(run.steps))

    def stopping(steps: Iterable[LoadStep]) -> Iterator[LoadStep]:
        for number, step in enumerate(steps):
            if number == 2:
                raise error
            yield step

    monkeypatch.setattr(NumpyLoads, "read", broken)
    with pytest.raises(raised):
        import_one(tmp_path / "x.npy", tmp_path)
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_run_of_the_same_name_is_not_touched(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", random_counts())
    first = import_one(tmp_path / "x.npy", tmp_path, run_id="mine")
    before = sorted((file.name, file.stat().st_mtime_ns) for file in first.path.iterdir())
    with pytest.raises(RunFolderError, match="exists already"):
        import_one(tmp_path / "x.npy", tmp_path, run_id="mine")
    assert sorted((file.name, file.stat().st_mtime_ns) for file in first.path.iterdir()) == before


def test_a_folder_of_an_import_at_work_is_left_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", random_counts())
    with staging_folder(tmp_path / "runs") as folder:
        import_one(tmp_path / "x.npy", tmp_path)
        assert folder.is_dir()
    assert not folder.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_import_leaves_no_run_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", random_counts(steps=400))
    code = (
        "import os, signal, sys, explorer.importers.writing as w\n"
        "from explorer.importers import import_path\n"
        "steps = w.checked_steps\n"
        "def killed(*a, **k):\n"
        "    for n, step in enumerate(steps(*a, **k)):\n"
        "        if n == 300: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        yield step\n"
        "w.checked_steps = killed\n"
        "import_path(sys.argv[1], sys.argv[2])\n"
    )
    runs = tmp_path / "runs"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x.npy"), str(runs)],
        cwd=ROOT,
        env=os.environ,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL
    left = list(runs.iterdir())
    assert len(left) == 1
    assert left[0].name.startswith(".import-")
    assert list_runs(runs) == []
    run = import_one(tmp_path / "x.npy", tmp_path)
    assert [path.name for path in runs.iterdir()] == [run.run_id]


def test_an_old_folder_without_a_lock_is_deleted(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for name, age_s in ((".import-old", 2 * 86_400), (".import-new", 60)):
        (runs / name).mkdir(parents=True)
        then = time.time() - age_s
        os.utime(runs / name, (then, then))
    with staging_folder(runs):
        pass
    assert [path.name for path in runs.iterdir()] == [".import-new"]


def test_progress_ends_at_the_size_of_the_file(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "moe_routes.jsonl", route_records(random_routes(tokens=4000)))
    seen: list[tuple[int, int]] = []
    import_path(
        path, tmp_path / "runs", None, {"num_experts": "8"}, lambda done, total: seen.append((done, total))
    )
    size = path.stat().st_size
    assert seen[-1] == (size, size)
    assert all(a[0] <= b[0] for a, b in pairwise(seen))
    assert len(seen) > 1
