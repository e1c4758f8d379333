"""Every file that the project writes appears whole or not at all."""

import ast
import errno
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from disk import files_of_at_most
from sentences import pattern

from explorer.cli.export import _save
from explorer.errors import ExplorerError
from explorer.files import replacing, sync_folder, write_whole

ROOT = Path(__file__).parents[1]


class TestReplacing:
    def test_a_new_file(self, tmp_path: Path) -> None:
        write_whole(tmp_path / "a", b"new")
        assert (tmp_path / "a").read_bytes() == b"new"
        assert [p.name for p in tmp_path.iterdir()] == ["a"]

    def test_the_old_file_is_there_until_the_new_one_is_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "a"
        path.write_bytes(b"old")
        with replacing(path) as file:
            file.write(b"new")
            file.flush()
            assert path.read_bytes() == b"old"
        assert path.read_bytes() == b"new"

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
    def test_an_error_leaves_the_old_file_alone(self, tmp_path: Path, error: type[BaseException]) -> None:
        path = tmp_path / "a"
        path.write_bytes(b"old")
        with pytest.raises(error), replacing(path) as file:  # noqa: PT012
            file.write(b"half")
            raise error
        assert path.read_bytes() == b"old"
        assert [p.name for p in tmp_path.iterdir()] == ["a"]

    def test_a_full_disk(self, tmp_path: Path) -> None:
        path = tmp_path / "a"
        path.write_bytes(b"old")
        with files_of_at_most(1000), pytest.raises(OSError, match="too large"):
            write_whole(path, b"x" * 5000)
        assert path.read_bytes() == b"old"
        assert [p.name for p in tmp_path.iterdir()] == ["a"]

    def test_the_content_is_on_disk_before_the_name_is(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[str] = []
        fsync, replace = os.fsync, Path.replace

        def sync(handle: int) -> None:
            calls.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
            fsync(handle)

        def rename(self: Path, target: Path) -> Path:
            calls.append("rename")
            return replace(self, target)

        monkeypatch.setattr(os, "fsync", sync)
        monkeypatch.setattr(Path, "replace", rename)
        write_whole(tmp_path / "a", b"new")
        write_whole(tmp_path / "b", b"new", sync_name=False)
        assert calls == ["file", "rename", "folder", "file", "rename"]

    def test_permissions_and_links_stay(self, tmp_path: Path) -> None:
        path, link = tmp_path / "a", tmp_path / "link"
        path.write_bytes(b"old")
        path.chmod(0o640)
        link.symlink_to(path)
        write_whole(link, b"new")
        assert link.is_symlink()
        assert path.read_bytes() == b"new"
        assert stat.S_IMODE(path.stat().st_mode) == 0o640

    def test_what_is_no_regular_file_is_not_replaced(self, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        read: list[bytes] = []
        reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
        reader.start()
        write_whole(pipe, b"new")
        reader.join()
        assert read == [b"new"]
        assert pipe.is_fifo()

    def test_the_longest_name(self, tmp_path: Path) -> None:
        path = tmp_path / ("é" * 120)
        write_whole(path, b"new")
        assert path.read_bytes() == b"new"

    def test_two_writers_of_one_file_do_not_meet(self, tmp_path: Path) -> None:
        path = tmp_path / "a"
        with replacing(path) as one, replacing(path) as other:
            one.write(b"one")
            other.write(b"other")
        assert path.read_bytes() == b"one"
        assert [p.name for p in tmp_path.iterdir()] == ["a"]


class TestFolders:
    @pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF])
    def test_one_that_cannot_be_synced_is_left_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
    ) -> None:
        def refuse(_: int) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "fsync", refuse)
        sync_folder(tmp_path)

    def test_a_failing_disk_is_not_passed_over(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(_: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="Input/output error"):
            sync_folder(tmp_path)
        with pytest.raises(OSError, match="Input/output error"):
            write_whole(tmp_path / "a", b"")


WRITER = """
import itertools, sys
from pathlib import Path
from explorer.files import write_whole
print("ready", flush=True)
for letter in itertools.cycle([b"a", b"b"]):
    write_whole(Path(sys.argv[1]), letter * 3_000_000)
"""


def test_a_kill_at_a_random_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    rng, path = random.Random(3), tmp_path / "film.gif"
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            while not path.exists():
                time.sleep(0.001)
            time.sleep(rng.random() * 0.05)
            process.send_signal(signal.SIGKILL)
        content = path.read_bytes()
        assert len(content) == 3_000_000
        assert content in (b"a" * 3_000_000, b"b" * 3_000_000)


class TestExports:
    def test_a_full_disk_with_force_keeps_the_old_file(self, tmp_path: Path) -> None:
        path = tmp_path / "figure.png"
        path.write_bytes(b"old")
        with files_of_at_most(1000), pytest.raises(ExplorerError, match=r"--out = .*figure.png': cannot be"):
            _save(path, b"x" * 5000, force=True)
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    def test_a_full_disk_leaves_no_half_file(self, tmp_path: Path) -> None:
        with files_of_at_most(1000), pytest.raises(ExplorerError, match=pattern("errors.write_failed")):
            _save(tmp_path / "new" / "figure.png", b"x" * 5000, force=False)
        assert list((tmp_path / "new").iterdir()) == []


WRITING_CALLS = {"write_bytes", "write_text", "NamedTemporaryFile"}
SCRATCH = {
    "explorer/files.py",  # the helper itself
    "explorer/recording/checksums.py",  # fills in the checksum of a file that has no final name yet
    "explorer/store/private.py",  # the lock of a temporary folder, which holds nothing
    "explorer/ui/server/imports.py",  # an upload, in a temporary folder until it is imported
    "explorer/running/child_process.py",  # a training's configuration and errors, in the temporary folder
    "explorer/running/forked_process.py",  # the same of a forked training
    "explorer/running/ray_child.py",  # an archive in memory
    "explorer/evidence/results.py",  # a lock, which holds nothing; rows go through the helper
    "explorer/evidence/trained_tasks.py",  # a training's configuration, in the temporary folder
    "explorer/tasks/sandbox_child.py",  # the user map of a namespace, in /proc
}


def test_nothing_else_writes_files() -> None:
    scratch_names = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "explorer").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and _writes(node)
    }
    assert scratch_names == SCRATCH


def _writes(call: ast.Call) -> bool:
    """Whether a call opens a file for writing, or writes one."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name in WRITING_CALLS:
        return True
    modes = [a.value for a in [*call.args, *(k.value for k in call.keywords)] if isinstance(a, ast.Constant)]
    is_open = name in ("open", "fdopen")
    return is_open and any(isinstance(m, str) and len(m) < 4 and set(m) & set("wxa+") for m in modes)
