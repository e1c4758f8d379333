"""A table file carries checksums over its values: a flipped bit is never read as another value."""

import json
import random
import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from recording_runs import give, make_info
from sentences import pattern, sentence
from store_runs import write_run

from explorer.errors import UnreadableRunError
from explorer.recording import RunFolder, check_file, checksums
from explorer.recording import compaction as compaction_module
from explorer.recording.checksums import BLOCK_ROWS, COLUMNS_KEY, FILE_KEY, digest_columns, digest_files
from explorer.recording.parts import parse_part, write_parquet
from explorer.recording.reader import read_part
from explorer.recording.run_writer import RunWriter
from explorer.store import Index


def table(rows: int = 500, seed: int = 0) -> pl.DataFrame:
    """Every type that a table may have, with nulls, empty lists, a NaN and a negative zero."""
    rng = np.random.default_rng(seed)
    holes = rng.random(rows) < 0.2
    lists = [None if hole else [float(i)] * (i % 3) for i, hole in enumerate(holes)]
    return pl.DataFrame(
        {
            "step": pl.Series(rng.integers(0, 2**40, rows), dtype=pl.Int64),
            "layer": pl.Series(np.where(holes, None, rng.integers(0, 9, rows)).tolist(), dtype=pl.Int32),
            "loss": pl.Series([np.nan, -0.0, *rng.normal(size=rows - 2)], dtype=pl.Float64),
            "bias": pl.Series(np.where(holes, None, 0.5).tolist(), dtype=pl.Float32),
            "name": pl.Series([None if hole else f"é{i % 7}" for i, hole in enumerate(holes)]),
            "logits": pl.Series(lists, dtype=pl.List(pl.Float32)),
            "experts": pl.Series([[i, i + 1] for i in range(rows)], dtype=pl.List(pl.Int32)),
        }
    )


class TestDigests:
    def test_chunks_do_not_matter(self) -> None:
        frame = table()
        pieces = pl.concat([frame[:7], frame[7:7], frame[7:300], frame[300:]], rechunk=False)
        assert pieces.n_chunks() > 1
        assert digest_columns(pieces) == digest_columns(frame)

    @pytest.mark.parametrize(
        "write",
        [
            lambda frame, path: frame.write_parquet(path, row_group_size=37, compression="snappy"),
            lambda frame, path: frame.write_parquet(path, use_pyarrow=True),
            lambda frame, path: frame.write_parquet(path, statistics=False, compression="uncompressed"),
        ],
    )
    def test_row_groups_compression_and_library_do_not_matter(
        self, tmp_path: Path, write: Callable[[pl.DataFrame, Path], None]
    ) -> None:
        frame = table()
        write(frame, tmp_path / "a.parquet")
        assert digest_files([tmp_path / "a.parquet"]) == digest_columns(frame)

    def test_files_one_after_another_are_one_table(self, tmp_path: Path) -> None:
        rows = BLOCK_ROWS + 100
        frame = pl.DataFrame(
            {"step": pl.Series(np.arange(rows)), "name": pl.Series(["a", None] * (rows // 2))}
        )
        cuts = [0, 10, BLOCK_ROWS - 5, rows]
        paths = [tmp_path / f"{cut}.parquet" for cut in cuts[1:]]
        for low, high, path in zip(cuts[:-1], cuts[1:], paths, strict=True):
            frame[low:high].write_parquet(path)
        assert digest_files(paths) == digest_columns(frame)
        assert digest_files(paths, ["step"]) == {"step": digest_columns(frame)["step"]}

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (pl.Series([1, None], dtype=pl.Int64), pl.Series([1, 0], dtype=pl.Int64)),
            (pl.Series([1, 0], dtype=pl.Int64), pl.Series([1, 0], dtype=pl.Int32)),
            (pl.Series([1, 0], dtype=pl.Int64), pl.Series([1], dtype=pl.Int64)),
            (pl.Series([None, 0], dtype=pl.Int64), pl.Series([0, None], dtype=pl.Int64)),
            (pl.Series([0.0]), pl.Series([-0.0])),
            (pl.Series(["ab", "c"]), pl.Series(["a", "bc"])),
            (pl.Series(["a", "b"]), pl.Series(["b", "a"])),
            (pl.Series(["", None]), pl.Series([None, ""])),
            (pl.Series([[1, 2], [3]]), pl.Series([[1], [2, 3]])),
            (pl.Series([[1], []]), pl.Series([[], [1]])),
            (pl.Series([[], None], dtype=pl.List(pl.Int32)), pl.Series([None, []], dtype=pl.List(pl.Int32))),
            (pl.Series([[None]], dtype=pl.List(pl.Int32)), pl.Series([[]], dtype=pl.List(pl.Int32))),
        ],
    )
    def test_other_values_have_another_digest(self, one: pl.Series, other: pl.Series) -> None:
        assert digest_columns(pl.DataFrame({"a": one})) != digest_columns(pl.DataFrame({"a": other}))

    def test_the_digest_itself_is_settled(self) -> None:
        """Files written today are checked by later versions, so these digits may never change."""
        assert digest_columns(table(40)) == {
            "step": "95bf62204afec3090d01c9ba847d5b59",
            "layer": "36b11a1c6974b93df55a1f79d90b7467",
            "loss": "b38c18f00e5862f023bcd90ae3a54eb2",
            "bias": "1c379fd7547d20f5cbdb187b50bed7af",
            "name": "b893d8b41730a929bdfa2f4c6b0cd320",
            "logits": "1569672c8e7031380b36502a23857f3a",
            "experts": "5e00ec0250337fcb54de954d20c15646",
        }
        alike = {"name": pl.Series(["a"] * 40), "gone": pl.Series([None] * 40, dtype=pl.Float32)}
        assert digest_columns(pl.DataFrame(alike)) == {
            "name": "029602706a0be0dc01dc28d5544f0550",
            "gone": "49c558eef5d70fd4fc55ac496d358b8c",
        }


@pytest.fixture
def part(tmp_path: Path) -> Path:
    write_run(tmp_path, steps=12, finish=False, flush_every=12)
    return tmp_path / "run" / "expert_loads-0-0-11.parquet"


def flip(path: Path, original: bytes, bit: int) -> None:
    damaged = bytearray(original)
    damaged[bit // 8] ^= 1 << bit % 8
    path.write_bytes(damaged)


def edges(original: bytes) -> list[int]:
    """Bits of the magic numbers at both ends, of the length of the footer, of the first page's header and of
    the checksum of the file."""
    size, checksum = len(original), original.rindex(FILE_KEY.encode()) + len(FILE_KEY)
    return [8 * byte for byte in (0, 3, 4, 5, checksum + 4, size - 8, size - 5, size - 4, size - 1)]


class TestFlippedBits:
    def test_none_is_read_as_another_value(self, part: Path) -> None:
        original, parsed = part.read_bytes(), parse_part(part)
        assert parsed is not None
        rows = read_part(parsed)
        refused = 0
        for bit in [*edges(original), *random.Random(1).sample(range(8 * len(original)), 120)]:
            flip(part, original, bit)
            try:
                read = read_part(parsed)
            except UnreadableRunError:
                refused += 1
            else:
                assert read.equals(rows), bit
        assert refused > 50

    def test_the_index_refuses_every_one_of_them(self, part: Path) -> None:
        """DuckDB decodes the file by itself, so that here not even a page header may differ."""
        original = part.read_bytes()
        footer = original.rindex(FILE_KEY.encode())
        edge = [bit for bit in edges(original) if bit < 8 * footer]
        for bit in [*edge, *random.Random(2).sample(range(8 * footer), 100)]:
            flip(part, original, bit)
            with pytest.raises(UnreadableRunError, match=pattern("errors.damaged")):
                check_file(part)

    def test_the_sentence_names_the_column(self, part: Path) -> None:
        rows = pl.read_parquet(part)
        entries = pl.read_parquet_metadata(part)
        rows.with_columns(pl.col("tokens") + 1).write_parquet(
            part, metadata={k: entries[k] for k in (COLUMNS_KEY, FILE_KEY)}
        )
        with pytest.raises(
            UnreadableRunError,
            match="0-11.parquet "
            + pattern("errors.damaged")
            + r" \(.* "
            + pattern("reading.damaged_values")
            + r" tokens\)",
        ):
            RunFolder(part.parent).read("expert_loads")

    def test_a_column_that_is_gone_is_named(self, part: Path) -> None:
        entries = pl.read_parquet_metadata(part)
        pl.read_parquet(part).drop("expert_bias").write_parquet(
            part, metadata={k: entries[k] for k in (COLUMNS_KEY, FILE_KEY)}
        )
        with pytest.raises(UnreadableRunError, match=pattern("reading.damaged_values") + " expert_bias"):
            RunFolder(part.parent).read("expert_loads")

    def test_a_panic_of_the_parquet_reader_is_a_sentence(
        self, part: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def panic(*_: object, **__: object) -> None:
            raise pl.exceptions.PanicException("index out of bounds")

        monkeypatch.setattr(pl, "scan_parquet", panic)
        with pytest.raises(UnreadableRunError, match=pattern("errors.damaged") + r" \(index out of bounds\)"):
            RunFolder(part.parent).read("expert_loads")

    def test_the_run_is_not_ingested_and_the_others_are(self, part: Path, tmp_path: Path) -> None:
        write_run(tmp_path, "good", steps=5)
        original = part.read_bytes()
        flip(part, original, 8 * 40)
        with Index.open(tmp_path / "i.duckdb") as index:
            report = index.ingest([tmp_path])
            assert list(report.problems) == ["run"]
            assert "0-11.parquet " + sentence("errors.damaged") in report.problems["run"]
            assert "good" in report.changed
            part.write_bytes(original)  # in place, as `cp` from a backup does
            assert index.ingest([tmp_path]).problems == {}


class TestFiles:
    def test_one_written_again_by_other_software_is_read(self, part: Path) -> None:
        """Its bytes are others, its values are not."""
        rows, entries = pl.read_parquet(part), pl.read_parquet_metadata(part)
        rows.write_parquet(part, row_group_size=10, metadata={k: entries[k] for k in (COLUMNS_KEY, FILE_KEY)})
        assert RunFolder(part.parent).read("expert_loads").equals(rows)
        with pytest.raises(UnreadableRunError, match=pattern("reading.damaged_bytes")):
            check_file(part)

    def test_one_without_checksums_is_read(self, part: Path) -> None:
        rows = pl.read_parquet(part)
        rows.write_parquet(part)
        assert check_file(part) is False
        assert RunFolder(part.parent).read("expert_loads").equals(rows)

    def test_merged_and_compacted_files_carry_their_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(compaction_module, "CHUNK_ROWS", 40)  # so that ranges of layers are joined
        recorder = RunWriter.create(tmp_path, make_info())
        for step in range(9):
            give(recorder, step)
            recorder.flush()
        parts = RunFolder(recorder.path).parts("expert_loads")
        merged = compaction_module.merge(parts)
        assert len(merged) == 1
        assert check_file(merged[0].path)
        before = RunFolder(recorder.path).read("expert_loads").sort("layer", "expert", "step")
        recorder.finish("finished")
        for path in recorder.path.glob("*-g1.parquet"):
            assert check_file(path)
        assert RunFolder(recorder.path).read("expert_loads").equals(before)
        assert not list(recorder.path.glob("*.tmp"))

    def test_a_damaged_part_is_not_compacted_into_a_sound_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(compaction_module, "CHUNK_ROWS", 40)
        recorder = RunWriter.create(tmp_path, make_info())
        give(recorder, *range(9))
        recorder.flush()
        path = recorder.path / "expert_loads-0-0-8.parquet"
        flip(path, path.read_bytes(), 8 * 30)
        with pytest.raises(UnreadableRunError, match=pattern("errors.damaged")):
            recorder.finish("finished")
        assert path.exists()

    def test_the_empty_table_has_checksums_too(self, tmp_path: Path) -> None:
        write_parquet(table().head(0), tmp_path / "a.parquet")
        assert check_file(tmp_path / "a.parquet")


@pytest.mark.parametrize("is_late", [False, True])
def test_digests_beside_the_encoding_are_those_of_the_rows(
    monkeypatch: pytest.MonkeyPatch, is_late: bool
) -> None:
    """A large part's are computed in a thread; where none can start any more, after the encoding."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    frame = pl.DataFrame({"step": np.arange(50) // 3, "tokens": np.arange(50), "domain": ["a", "b"] * 25})
    whole = bytes(checksums.parquet_bytes(frame, level=1))
    monkeypatch.setattr(checksums, "BLOCK_ROWS", 16)
    if is_late:
        monkeypatch.setattr(threading.Thread, "start", refuse)
    content = bytes(checksums.parquet_bytes(frame, level=1))
    metadata = pl.read_parquet_metadata(BytesIO(content))
    assert json.loads(metadata[checksums.COLUMNS_KEY]) == checksums.digest_columns(frame)
    assert len(content) == len(whole)
