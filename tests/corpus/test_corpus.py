"""The loaded corpus: round trips, batches, held-out windows, probe and tokenizers."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sentences import pattern

from explorer.config.run import CorpusConfig
from explorer.corpus import Corpus, corpus, domains, load_corpus, tokenizer, tokenizer_from_json
from explorer.corpus.units import Domain, Unit
from explorer.errors import CorpusError

DOMAINS = ("english", "spanish", "python", "cpp", "json", "digits")
BYTES = CorpusConfig(name="mix", tokenizer="bytes", vocab_size=256)
NUMBER = re.compile(r"\d+")
STEP = {"seed": 3, "step": 7, "sequence_length": 128}


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def mix(cache_dir: Path) -> Corpus:
    return load_corpus(CorpusConfig(name="mix"), cache_dir=cache_dir)


@pytest.fixture(scope="module")
def mix_bytes(cache_dir: Path) -> Corpus:
    return load_corpus(BYTES, cache_dir=cache_dir)


@pytest.fixture(scope="module")
def texts() -> list[Domain]:
    return [source.read() for source in domains.sources("mix")]


def joined(units: tuple[Unit, ...]) -> str:
    return "".join(unit.text for unit in units)


# The text behind the tokens


def test_mix_has_its_six_domains(mix: Corpus) -> None:
    assert mix.domains == DOMAINS
    assert mix.name == "mix"
    assert mix.vocab_size == mix.tokenizer.vocab_size == 1024


def test_tokens_are_the_text_of_each_domain_and_split_exactly(mix: Corpus, texts: list[Domain]) -> None:
    """Round trip on every domain, and training tokens hold training text only."""
    for domain, train, held_out in zip(texts, mix.train_tokens, mix.held_out_tokens, strict=True):
        assert mix.tokenizer.decode(train) == joined(domain.train), domain.name
        assert mix.tokenizer.decode(held_out) == joined(domain.held_out), domain.name


def test_byte_tokens_are_the_text(mix_bytes: Corpus, texts: list[Domain]) -> None:
    for domain, train in zip(texts, mix_bytes.train_tokens, strict=True):
        assert train.astype(np.uint8).tobytes() == joined(domain.train).encode()


def test_token_lengths_are_the_bytes_of_the_text(mix: Corpus, texts: list[Domain]) -> None:
    for domain, held_out in zip(texts, mix.held_out_tokens, strict=True):
        assert mix.tokenizer.token_lengths[held_out].sum() == len(joined(domain.held_out).encode())


def test_tokenizer_shortens_every_domain(mix: Corpus) -> None:
    """Published beside the design: 1.5 bytes a token for digits, above 2 elsewhere."""
    for name, held_out in zip(mix.domains, mix.held_out_tokens, strict=True):
        assert mix.tokenizer.token_lengths[held_out].mean() > (1.4 if name == "digits" else 2.0)


def test_vocabulary_is_learned_from_training_text_alone(small: list[Unit], tmp_path: Path) -> None:
    config = CorpusConfig(name="austen", vocab_size=300)
    before = load_corpus(config, cache_dir=tmp_path / "a").tokenizer.to_json()
    held_out = {unit.name for unit in domains.split("english", small).held_out}
    for index, unit in enumerate(small):
        if unit.name in held_out:
            small[index] = Unit(name=unit.name, text=unit.text[::-1])
    assert load_corpus(config, cache_dir=tmp_path / "b").tokenizer.to_json() == before


def test_tokenizer_training_is_balanced_over_domains() -> None:
    large = Domain(
        name="l", train=tuple(Unit(name=f"{i}", text=f"{i} a\n" * 2000) for i in range(90)), held_out=()
    )
    tiny = Domain(name="t", train=(Unit(name="t", text="b\n" * 9000),), held_out=())
    pieces = list(corpus._training_text([large, tiny]))
    share = {letter: sum(len(p) for p in pieces if letter in p) for letter in "ab"}
    assert share["b"] == 18_000
    assert 18_000 <= share["a"] <= 18_000 + 4200
    # ... and its share is a sample of the whole text.
    assert max(int(p.split()[0]) for p in pieces if "a" in p) > 60


# Training batches


def test_batch_has_its_shape(mix: Corpus) -> None:
    batch = mix.batch(micro_batch=0, num_sequences=16, **STEP)
    assert batch.tokens.shape == (16, 129)
    assert batch.tokens.dtype == batch.domain_ids.dtype == np.int64
    assert batch.domain_names == [DOMAINS[i] for i in batch.domain_ids]


def test_micro_batches_together_are_the_large_batch(mix: Corpus) -> None:
    """Count scopes are compared on the same sequences, however a step is cut into micro-batches."""
    large = mix.batch(micro_batch=0, num_sequences=64, **STEP)
    parts = [mix.batch(micro_batch=m, num_sequences=16, **STEP) for m in range(4)]
    np.testing.assert_array_equal(np.concatenate([p.tokens for p in parts]), large.tokens)
    np.testing.assert_array_equal(np.concatenate([p.domain_ids for p in parts]), large.domain_ids)


def test_sequences_of_a_step_do_not_overlap(mix: Corpus) -> None:
    for step in range(20):
        batch = mix.batch(seed=0, step=step, micro_batch=0, num_sequences=192, sequence_length=128)
        domain_ids = batch.domain_ids
        positions = np.arange(192)
        sizes = np.array([t.size for t in mix.train_tokens]) - 128
        starts = corpus.plan_starts(0, step, positions, domain_ids, sizes)
        for domain in range(6):
            assert np.diff(np.sort(starts[domain_ids == domain])).min() >= 129


def test_windows_lie_in_the_training_text_of_their_domain(mix_bytes: Corpus, texts: list[Domain]) -> None:
    training = [joined(domain.train).encode() for domain in texts]
    for step in range(5):
        batch = mix_bytes.batch(seed=1, step=step, micro_batch=1, num_sequences=24, sequence_length=256)
        for row, domain in zip(batch.tokens, batch.domain_ids, strict=True):
            assert row.astype(np.uint8).tobytes() in training[domain]


def test_every_start_can_be_drawn_up_to_the_very_last(mix_bytes: Corpus) -> None:
    sizes = np.array([5, 9], dtype=np.int64)
    seen: dict[int, set[int]] = {0: set(), 1: set()}
    for step in range(300):
        positions = np.arange(4, dtype=np.int64)
        ids = corpus.plan_domains(0, step, positions, 2)
        for domain, start in zip(
            ids.tolist(), corpus.plan_starts(0, step, positions, ids, sizes), strict=True
        ):
            seen[domain].add(int(start))
    assert seen == {0: set(range(5)), 1: set(range(9))}


def test_starts_are_uniform_over_the_text() -> None:
    sizes = np.array([1000], dtype=np.int64)
    positions = np.arange(16, dtype=np.int64)
    zeros = np.zeros(16, dtype=np.int64)
    starts = np.concatenate([corpus.plan_starts(5, s, positions, zeros, sizes) for s in range(1000)])
    counts = np.histogram(starts, bins=10, range=(0, 1000))[0]
    # Binomial standard deviation is 38; stratified draws vary less.
    assert abs(counts - 1600).max() < 150


def test_another_seed_step_or_position_is_another_draw(mix: Corpus) -> None:
    base = mix.batch(micro_batch=0, num_sequences=16, **STEP).tokens
    for changed in ({"seed": 4}, {"step": 8}, {"micro_batch": 1}):
        other = mix.batch(**{"micro_batch": 0, "num_sequences": 16, **STEP, **changed}).tokens
        assert not (other == base).all(-1).any(), changed


def test_same_batch_in_another_process(mix: Corpus, cache_dir: Path, tmp_path: Path) -> None:
    """Built from scratch there, with another hash seed: vocabulary, digest and batch are the same."""
    code = (
        "import sys, hashlib, pathlib; from explorer.config.run import CorpusConfig\n"
        "from explorer.corpus import load_corpus\n"
        "c = load_corpus(CorpusConfig(name='mix'), cache_dir=pathlib.Path(sys.argv[1]))\n"
        "b = c.batch(seed=3, step=7, micro_batch=2, num_sequences=16, sequence_length=128)\n"
        "print(c.digest, hashlib.sha256(b.tokens.tobytes()).hexdigest(), 'torch' in sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(Path(domains.__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    batch = mix.batch(micro_batch=2, num_sequences=16, **STEP)
    assert done.stdout.split() == [mix.digest, hashlib.sha256(batch.tokens.tobytes()).hexdigest(), "False"]


def test_data_order_is_pinned(mix_bytes: Corpus) -> None:
    """A resumed or repeated run must see the same text: change this only together with FORMAT."""
    batch = mix_bytes.batch(seed=0, step=5, micro_batch=1, num_sequences=16, sequence_length=128)
    assert hashlib.sha256(batch.tokens.astype("<i8").tobytes()).hexdigest()[:16] == "e7734e4034d28835"
    assert mix_bytes.digest[:16] == "d9e27cd051713429"


def test_sequence_longer_than_a_domain_is_refused(small: list[Unit], tmp_path: Path) -> None:
    tiny = load_corpus(CorpusConfig(name="austen", vocab_size=300), cache_dir=tmp_path)
    longest = tiny.train_tokens[0].size - 1
    assert tiny.batch(seed=0, step=0, micro_batch=0, num_sequences=2, sequence_length=longest).tokens.any()
    with pytest.raises(
        CorpusError, match=r"sequence_length = \d+: .*" + pattern("corpus.training_text", domain="english")
    ):
        tiny.batch(seed=0, step=0, micro_batch=0, num_sequences=1, sequence_length=longest + 1)
    with pytest.raises(CorpusError, match=pattern("corpus.held_out_text", domain="english")):
        tiny.held_out(num_tokens=10, sequence_length=longest)


# Held-out batches and the probe


def test_final_evaluation_fits_the_mix(mix: Corpus) -> None:
    batches = mix.held_out(num_tokens=36_864, sequence_length=128)
    assert [batch.domain for batch in batches] == list(DOMAINS)
    assert sum(batch.num_tokens for batch in batches) == 36_864
    for batch in batches:
        assert batch.tokens.shape == (48, 129)
        assert batch.num_tokens == 48 * 128
        assert batch.missing_tokens == 0
        assert set(batch.domain_names) == {batch.domain}
        assert [DOMAINS[i] for i in batch.domain_ids] == batch.domain_names


def test_held_out_windows_are_held_out_spread_and_apart(mix_bytes: Corpus, texts: list[Domain]) -> None:
    batches = mix_bytes.held_out(num_tokens=36_864, sequence_length=128)
    for batch, domain in zip(batches, texts, strict=True):
        text = joined(domain.held_out).encode()
        place, starts = 0, []
        for row in batch.tokens:
            place = text.index(row.astype(np.uint8).tobytes(), place)
            starts.append(place)
            place += 129
        assert starts[0] < len(text) / 20
        assert starts[-1] > len(text) * 0.9


def test_num_bytes_are_those_of_the_targets(mix: Corpus, mix_bytes: Corpus) -> None:
    for batch in mix.held_out(num_tokens=12_288, sequence_length=128):
        # Decoding each token's bytes separately, without the table of lengths.
        by_hand = sum(
            len(token) for row in batch.tokens for token in map(mix.tokenizer._tokenizer.id_to_token, row[1:])
        )
        assert batch.num_bytes == by_hand
    for batch in mix_bytes.held_out(num_tokens=12_288, sequence_length=128):
        assert batch.num_bytes == batch.num_tokens


def test_large_evaluation_is_cut_into_batches(mix: Corpus) -> None:
    batches = mix.held_out(num_tokens=6 * 150 * 128, sequence_length=128)
    sizes = [len(batch.tokens) for batch in batches if batch.domain == "english"]
    assert sizes == [64, 64, 22]


def test_too_little_held_out_text_is_used_once_and_said(mix: Corpus) -> None:
    batches = [b for b in mix.held_out(num_tokens=60_000_000, sequence_length=128) if b.domain == "json"]
    used = sum(batch.num_tokens for batch in batches)
    assert used == mix.held_out_tokens[4].size // 129 * 128
    assert {batch.missing_tokens for batch in batches} == {60_000_000 // 6 // 128 * 128 - used}


def test_small_evaluation_still_sees_every_domain(mix: Corpus) -> None:
    assert [len(b.tokens) for b in mix.held_out(num_tokens=1, sequence_length=128)] == [1] * 6


def test_probe_is_fixed_held_out_text_with_domains_in_turn(mix: Corpus, texts: list[Domain]) -> None:
    probe = mix.probe(num_tokens=1024, sequence_length=128)
    assert probe.tokens.shape == (8, 129)
    assert probe.domain_names == [*DOMAINS, "english", "spanish"]
    np.testing.assert_array_equal(probe.tokens, mix.probe().tokens)
    assert len({row.tobytes() for row in probe.tokens}) == 8
    for row, domain in zip(probe.tokens, probe.domain_ids, strict=True):
        # A window may begin or end inside a character.
        assert mix.tokenizer.decode(row).strip("\ufffd") in joined(texts[domain].held_out)


def test_probe_refuses_what_does_not_fit(mix: Corpus) -> None:
    with pytest.raises(CorpusError, match="probe_tokens = 1000: " + pattern("errors.multiple")):
        mix.probe(num_tokens=1000, sequence_length=128)
    with pytest.raises(
        CorpusError, match=pattern("corpus.held_out_sequences", domain="json", sequences=NUMBER)
    ):
        mix.probe(num_tokens=128 * 6 * 300, sequence_length=128)


# Tokenizers


def test_tokenizer_survives_json(mix: Corpus, mix_bytes: Corpus) -> None:
    text = "def f(x):\n    return 'señor 🙂'\n"
    for one in (mix.tokenizer, mix_bytes.tokenizer):
        again = tokenizer_from_json(json.loads(json.dumps(one.to_json())))
        np.testing.assert_array_equal(again.encode(text), one.encode(text))
        assert again.decode(one.encode(text)) == text
        assert again.vocab_size == one.vocab_size


def test_ids_of_another_vocabulary_are_refused(mix: Corpus, mix_bytes: Corpus) -> None:
    with pytest.raises(
        CorpusError, match=pattern("corpus.unknown_token_above", token=1024, low=0, high=1023)
    ):
        mix.tokenizer.decode([3, 1024])
    with pytest.raises(CorpusError, match=pattern("corpus.unknown_token", token=-1)):
        mix_bytes.tokenizer.decode([-1])


def test_unreadable_tokenizer_is_refused() -> None:
    with pytest.raises(CorpusError, match=pattern("corpus.tokenizer_unreadable")):
        tokenizer_from_json({"model": "none"})


def test_vocabulary_that_the_text_cannot_fill_is_refused(small: list[Unit], tmp_path: Path) -> None:
    with pytest.raises(
        CorpusError, match="vocab_size = 5000: " + pattern("corpus.few_tokens", tokens=NUMBER)
    ):
        load_corpus(CorpusConfig(name="austen", vocab_size=5000), cache_dir=tmp_path)


def test_environment_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    with tokenizer.one_thread():
        assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
    assert "TOKENIZERS_PARALLELISM" not in os.environ
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    with tokenizer.one_thread():
        assert os.environ["TOKENIZERS_PARALLELISM"] == "true"
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, explorer.corpus; print({'torch', 'tokenizers', 'polars'} & set(sys.modules))"
    root = str(Path(domains.__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
