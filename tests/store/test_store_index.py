"""Opening the index: where it lies, when it is rebuilt, and what happens to a damaged file."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import empty_index
import pytest
from sentences import sentence
from store_runs import write_run

from explorer.config.places import default_path
from explorer.errors import StoreError
from explorer.store import Index, connection, private


@pytest.fixture(autouse=True)
def indexes_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_open_or_rebuild", empty_index.made)


def run_ids(index: Index) -> list[str]:
    with index.cursor() as cur:
        return [row[0] for row in cur.execute("SELECT run_id FROM runs ORDER BY 1").fetchall()]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    write_run(tmp_path / "runs")
    return tmp_path / "runs"


def test_the_default_is_in_the_users_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "moe-routing-explorer" / "explorer.duckdb"
    with Index.open() as index:
        assert index.path == default_path()
        assert index.notice is None
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_path().parts[-3:] == (".cache", "moe-routing-explorer", "explorer.duckdb")


def test_without_a_home_the_index_is_a_private_one(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    with Index.open() as index:
        assert index.private
        assert "no home folder" in str(index.notice)
        assert sentence("store.set_cache_home") in str(index.notice)
        assert index.ingest([runs]).problems == {}


KEEP_OPEN = """
import sys, time
from pathlib import Path
from explorer.store import Index
index = Index.open(Path(sys.argv[1]))
print(index.path.parent, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(private.fcntl is None, reason="this system has no flock")
def test_a_killed_process_leaves_its_private_index_to_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(private.tempfile, "tempdir", None)
    (tmp_path / "file").write_text("not a folder")
    nowhere = tmp_path / "file" / "index.duckdb"
    stranger = tmp_path / f"{private.PREFIX}without-a-lock"
    stranger.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", KEEP_OPEN, str(nowhere)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        try:
            with Index.open(nowhere) as mine, Index.open(nowhere) as another:
                assert theirs.is_dir(), "its process lives"
                assert mine.path.parent.is_dir()
                assert another.path.parent != mine.path.parent
        finally:
            other.kill()
    assert theirs.is_dir()
    Index.open(nowhere).close()
    assert not theirs.exists()
    assert stranger.is_dir()


def test_an_index_is_kept_between_processes(tmp_path: Path, runs: Path) -> None:
    with Index.open(tmp_path / "index.duckdb") as index:
        index.ingest([runs])
    with Index.open(tmp_path / "index.duckdb") as index:
        assert run_ids(index) == ["run"]
        report = index.ingest([runs])
        assert (report.rows, report.changed) == (0, [])


def test_an_index_of_another_version_is_rebuilt(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(connection, "schema_version", lambda: "older")
        with Index.open(tmp_path / "index.duckdb") as index:
            index.ingest([runs])
    with Index.open(tmp_path / "index.duckdb") as index:
        assert run_ids(index) == []
        assert index.notice is None
        assert index.ingest([runs]).rows > 0


@pytest.mark.parametrize("content", [b"this is no database", b"", b"\0" * 20_000])
def test_a_file_that_is_no_database_is_set_aside_and_rebuilt(
    tmp_path: Path, runs: Path, content: bytes
) -> None:
    path = tmp_path / "index.duckdb"
    path.write_bytes(content)
    with Index.open(path) as index:
        assert not index.private
        index.ingest([runs])
        assert run_ids(index) == ["run"]
    if content:
        assert Path(f"{path}.damaged").read_bytes() == content


def test_a_half_made_index_is_rebuilt(tmp_path: Path, runs: Path) -> None:
    path = tmp_path / "index.duckdb"
    with duckdb.connect(str(path)) as half:
        half.execute("CREATE SCHEMA raw")
        half.execute("CREATE TABLE raw.runs (run_key INTEGER)")
    with Index.open(path) as index:
        index.ingest([runs])
        assert run_ids(index) == ["run"]


def test_damage_met_while_ingesting_rebuilds_the_index(tmp_path: Path, runs: Path) -> None:
    path = tmp_path / "index.duckdb"
    with Index.open(path) as index:
        index.ingest([runs])
        with index.cursor() as cur:
            wanted = cur.execute("SELECT sum(tokens) FROM expert_loads").fetchone()
    size = path.stat().st_size
    with path.open("r+b") as file:  # the headers stay whole, so that the file opens
        file.seek(3 * 4096)
        file.write(os.urandom(size - 3 * 4096))
    with Index.open(path) as index:
        index.ingest([runs])
        with index.cursor() as cur:
            assert cur.execute("SELECT sum(tokens) FROM expert_loads").fetchone() == wanted


def test_a_folder_that_cannot_be_written_gives_a_private_index(tmp_path: Path, runs: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    index = Index.open(tmp_path / "file" / "index.duckdb")
    assert index.private
    assert index.notice is not None
    assert "private one" in index.notice
    index.ingest([runs])
    assert run_ids(index) == ["run"]
    folder = index.path.parent
    assert folder.exists()
    index.close()
    assert not folder.exists()


def test_a_lock_is_never_taken_for_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "index.duckdb"
    Index.open(path).close()
    before = path.read_bytes()
    real = duckdb.connect

    def locked(name: str, **options: object) -> object:
        if name == str(path):
            raise duckdb.IOException(f'IO Error: Could not set lock on file "{name}"')
        return real(name, **options)

    monkeypatch.setattr(connection.duckdb, "connect", locked)
    with Index.open(path) as index:
        assert index.private
        assert sentence("store.in_use") in str(index.notice)
    assert path.read_bytes() == before


def test_two_openings_in_one_process_share_the_index(tmp_path: Path, runs: Path) -> None:
    with Index.open(tmp_path / "index.duckdb") as one, Index.open(tmp_path / "index.duckdb") as two:
        threads = [threading.Thread(target=index.ingest, args=([runs],)) for index in (one, two)]
        for number in range(3):
            write_run(runs, f"more-{number}", steps=10)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert two.ingest([runs]).problems == {}
        assert run_ids(one) == run_ids(two) == ["more-0", "more-1", "more-2", "run"]
        with two.cursor() as cur:
            assert cur.execute("SELECT count(*) FROM expert_loads").fetchone() == (320 + 3 * 80,)


def test_no_place_at_all_is_a_store_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setattr(private.tempfile, "mkdtemp", lambda **_: str(tmp_path / "file" / "deeper"))
    with pytest.raises(StoreError, match="XDG_CACHE_HOME"):
        Index.open(tmp_path / "file" / "index.duckdb")


def test_closing_twice_is_fine(tmp_path: Path) -> None:
    index = Index.open(tmp_path / "index.duckdb")
    index.close()
    index.close()


def test_a_cursor_sees_one_moment(tmp_path: Path, runs: Path) -> None:
    with Index.open(tmp_path / "index.duckdb") as index:
        index.ingest([runs])
        with index.cursor() as cur:
            before = cur.execute("SELECT count(*) FROM runs").fetchone()
            write_run(runs, "later")
            index.ingest([runs])
            assert cur.execute("SELECT count(*) FROM runs").fetchone() == before
        assert run_ids(index) == ["later", "run"]
