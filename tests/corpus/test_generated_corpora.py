"""The generated corpora: domains, splits, tokens; and that what existed has kept its key."""

from pathlib import Path

import pytest

from explorer.config.run import CorpusConfig
from explorer.corpus import load_corpus, programs, two_hop
from explorer.corpus.domains import sources


def test_domains_and_their_held_out_shares() -> None:
    for corpus, names in (
        ("two_hop", ["recall", "one_hop", "two_hop"]),
        ("code", ["python", "fill_in", "programs"]),
    ):
        domains = [source.read() for source in sources(corpus)]
        assert [domain.name for domain in domains] == names
        for domain in domains:
            assert 0.05 <= domain.held_out_share <= 0.10
            assert not {unit.name for unit in domain.train} & {unit.name for unit in domain.held_out}


def test_a_new_version_of_the_text_is_another_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [source.key() for corpus in ("two_hop", "code") for source in sources(corpus)]
    monkeypatch.setattr(two_hop, "VERSION", 2)
    monkeypatch.setattr(programs, "VERSION", 2)
    after = [source.key() for corpus in ("two_hop", "code") for source in sources(corpus)]
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, False, False, True, True, False]


def test_windows_hold_the_text_of_their_split(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(two_hop, "TRAIN_PROBLEMS", 1300)
    monkeypatch.setattr(two_hop, "HELD_OUT_PROBLEMS", 100)
    config = CorpusConfig(name="two_hop", vocab_size=560)
    corpus = load_corpus(config, cache_dir=tmp_path)
    again = load_corpus(config, cache_dir=tmp_path)
    assert corpus.digest == again.digest
    for split, arrays in (("train", corpus.train_tokens), ("held_out", corpus.held_out_tokens)):
        for kind, tokens in zip(corpus.domains, arrays, strict=True):
            expected = two_hop.texts(kind, split, 3)
            assert corpus.tokenizer.decode(tokens[:1000]).startswith("".join(expected))
    batch = corpus.batch(seed=0, step=0, micro_batch=0, num_sequences=3, sequence_length=128)
    assert sorted(batch.domain_names) == ["one_hop", "recall", "two_hop"]
    # A whole word is one token, so that a name is copied in two.
    assert len(corpus.tokenizer.encode(" " + two_hop.names("country", "held_out")[0])) == 2
