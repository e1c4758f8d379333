"""The cache of encoded corpora and the digest: damage costs time and never a wrong token."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from sentences import pattern

from explorer.config.run import CorpusConfig
from explorer.corpus import cache, corpus, load_corpus
from explorer.corpus.units import Unit
from explorer.errors import CorpusError

BYTES = CorpusConfig(name="mix", tokenizer="bytes", vocab_size=256)


def test_second_load_reads_the_cache_only(
    small: list[Unit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CorpusConfig(name="austen", vocab_size=300)
    first = load_corpus(config, cache_dir=tmp_path)
    monkeypatch.setattr(corpus, "_build", lambda *_: pytest.fail("built again"))
    second = load_corpus(config, cache_dir=tmp_path)
    assert second.digest == first.digest
    np.testing.assert_array_equal(second.train_tokens[0], first.train_tokens[0])
    assert [path.suffix for path in tmp_path.iterdir()] == [".npz"]


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "flipped", "stale", "folder"])
def test_damaged_cache_is_rebuilt(small: list[Unit], tmp_path: Path, damage: str) -> None:
    config = CorpusConfig(name="austen", vocab_size=300)
    first = load_corpus(config, cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 4
    if damage == "folder":
        path.unlink()
        path.mkdir()
    elif damage == "stale":
        stored = cache.read(path)
        stale = {"key": corpus._pack("of another text"), "train_0": stored["train_0"][::-1]}
        cache.write(path, {**stored, **stale})
    else:
        path.write_bytes({"truncated": raw[:-100], "empty": b"", "text": b"hello", "flipped": raw}[damage])
    again = load_corpus(config, cache_dir=tmp_path)
    assert again.digest == first.digest
    np.testing.assert_array_equal(again.train_tokens[0], first.train_tokens[0])
    if damage != "folder":
        np.testing.assert_array_equal(cache.read(path)["train_0"], first.train_tokens[0])


def test_cache_that_cannot_be_written_is_only_a_pity(small: list[Unit], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    loaded = load_corpus(CorpusConfig(name="austen", vocab_size=300), cache_dir=tmp_path / "file" / "cache")
    assert loaded.train_tokens[0].size


def test_damaged_data_is_noticed_even_with_a_warm_cache(tmp_path: Path) -> None:
    load_corpus(BYTES, cache_dir=tmp_path / "cache")
    folder = Path(shutil.copytree(corpus.DATA_FOLDER, tmp_path / "data"))
    raw = bytearray((folder / "digits.jsonl.xz").read_bytes())
    raw[5000] ^= 1
    (folder / "digits.jsonl.xz").write_bytes(raw)
    with pytest.raises(CorpusError, match=r"digits\.jsonl\.xz.*" + pattern("corpus.damaged")):
        load_corpus(BYTES, cache_dir=tmp_path / "cache", data_folder=folder)


def test_digest_follows_text_tokenizer_and_split(
    small: list[Unit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest(**settings: object) -> str:
        return load_corpus(CorpusConfig(name="austen", **settings), cache_dir=tmp_path).digest

    digests = [digest(vocab_size=300), digest(vocab_size=301), digest(tokenizer="bytes", vocab_size=256)]
    assert digest(vocab_size=300) == digests[0]
    monkeypatch.setattr(corpus, "HELD_OUT_SHARE", 0.06)
    digests.append(digest(vocab_size=300))
    small.append(Unit(name="more", text="One more.\n" * 20))
    digests.append(digest(vocab_size=300))
    assert len(set(digests)) == 5


@pytest.mark.parametrize(
    ("value", "expected"), [("/x/y", "/x/y"), ("", "HOME/.cache"), ("rel", "HOME/.cache")]
)
def test_cache_folder_follows_the_xdg_rule(
    value: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert cache.default_folder() == Path(expected.replace("HOME", str(tmp_path))) / "moe-routing-explorer"


def test_without_a_home_nothing_is_cached(small: list[Unit], monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    assert cache.default_folder() is None
    assert load_corpus(CorpusConfig(name="austen", vocab_size=300)).train_tokens[0].size > 0
