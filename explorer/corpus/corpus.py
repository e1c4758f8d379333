"""A corpus ready to train on: split, tokenized, cached.

    corpus = load_corpus(CorpusConfig(name="mix"))
    batch = corpus.batch(seed=0, step=0, micro_batch=0, num_sequences=16, sequence_length=128)

numpy only; the training loop converts to tensors.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.config.run import CorpusConfig
from explorer.corpus import cache
from explorer.corpus.batches import (
    MAX_EVAL_SEQUENCES,
    Batch,
    HeldOutBatch,
    check_lengths,
    plan_domains,
    plan_starts,
    spread_windows,
)
from explorer.corpus.domains import sources
from explorer.corpus.files import DATA_FOLDER
from explorer.corpus.tokenizer import BpeTokenizer, ByteTokenizer, Ids, Tokenizer, train_bpe
from explorer.corpus.units import BLOCK_BYTES, HELD_OUT_SHARE, Domain, blocks
from explorer.errors import CorpusError

FORMAT = 1
"""Increment when the code from text to tokens changes: it enters digests and cache keys."""
TOKENIZER_BYTES = 4_000_000
"""Bytes of text for BPE training, split evenly across domains."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Corpus:
    """Token arrays of every domain and split, and the batches drawn from them."""

    name: str
    domains: tuple[str, ...]
    digest: str
    """SHA-256 over the texts, the split and the tokenizer: equal digests give equal batches."""
    vocab_size: int
    tokenizer: Tokenizer
    train_tokens: tuple[NDArray[np.unsignedinteger[Any]], ...] = field(repr=False)
    """One array per domain: its training units, concatenated."""
    held_out_tokens: tuple[NDArray[np.unsignedinteger[Any]], ...] = field(repr=False)

    @cached_property
    def _train_sizes(self) -> Ids:
        return np.array([tokens.size for tokens in self.train_tokens], dtype=np.int64)

    @cached_property
    def _held_out_sizes(self) -> Ids:
        return np.array([tokens.size for tokens in self.held_out_tokens], dtype=np.int64)

    def batch(
        self, *, seed: int, step: int, micro_batch: int, num_sequences: int, sequence_length: int
    ) -> Batch:
        """B = num_sequences windows of training text, each inside one domain, domains balanced.

        The micro-batches of a step are consecutive slices of one stream of sequences: 4 of size B
        equal 1 of size 4 B. Raises CorpusError if a domain is shorter than a sequence.
        """
        check_lengths(self.domains, self._train_sizes, sequence_length, "training")
        positions = micro_batch * num_sequences + np.arange(num_sequences, dtype=np.int64)
        domain_ids = plan_domains(seed, step, positions, len(self.domains))
        starts = plan_starts(seed, step, positions, domain_ids, self._train_sizes - sequence_length)
        return self._cut(self.train_tokens, domain_ids, starts, sequence_length)

    def _cut(
        self,
        texts: tuple[NDArray[np.unsignedinteger[Any]], ...],
        domain_ids: Ids,
        starts: Ids,
        sequence_length: int,
    ) -> Batch:
        tokens = np.empty((starts.size, sequence_length + 1), dtype=np.int64)
        for row, (domain, start) in enumerate(zip(domain_ids.tolist(), starts.tolist(), strict=True)):
            tokens[row] = texts[domain][start : start + sequence_length + 1]
        names = [self.domains[domain] for domain in domain_ids.tolist()]
        return Batch(tokens=tokens, domain_ids=domain_ids, domain_names=names)

    def held_out(self, *, num_tokens: int, sequence_length: int) -> list[HeldOutBatch]:
        """The same held-out windows every time: equal tokens per domain, at most 64 sequences per batch.

        A domain's share is `num_tokens // D`, in whole sequences, at least one. Windows do not overlap
        and never wrap; where a domain has too little text, `missing_tokens` is the shortfall.
        """
        check_lengths(self.domains, self._held_out_sizes, sequence_length, "held-out")
        num_windows = max(1, num_tokens // (len(self.domains) * sequence_length))
        lengths = self.tokenizer.token_lengths
        result = []
        for domain, name in enumerate(self.domains):
            starts = spread_windows(self.held_out_tokens[domain].size, sequence_length + 1, num_windows)
            missing = (num_windows - starts.size) * sequence_length
            for first in range(0, starts.size, MAX_EVAL_SEQUENCES):
                part = starts[first : first + MAX_EVAL_SEQUENCES]
                ids = np.full(part.size, domain, dtype=np.int64)
                batch = self._cut(self.held_out_tokens, ids, part, sequence_length)
                targets = batch.tokens[:, 1:]
                result.append(
                    HeldOutBatch(
                        tokens=batch.tokens,
                        domain_ids=ids,
                        domain_names=batch.domain_names,
                        domain=name,
                        num_tokens=targets.size,
                        num_bytes=int(lengths[targets].sum()),
                        missing_tokens=missing,
                    )
                )
        return result

    def probe(self, *, num_tokens: int = 1024, sequence_length: int = 128) -> Batch:
        """Fixed held-out sequences for inspecting single tokens; domains alternate.

        num_tokens must be a multiple of sequence_length. Raises CorpusError if the text is too short.
        """
        num_sequences, rest = divmod(num_tokens, sequence_length)
        if rest or num_sequences < 1:
            raise CorpusError(
                f"training.probe_tokens = {num_tokens}: must be a multiple of training.sequence_length"
                f" ({sequence_length}); change one of them."
            )
        check_lengths(self.domains, self._held_out_sizes, sequence_length, "held-out")
        turns, domain_ids = np.divmod(np.arange(num_sequences, dtype=np.int64), len(self.domains))
        starts = np.empty(num_sequences, dtype=np.int64)
        for domain, size in enumerate(self._held_out_sizes.tolist()):
            mine = domain_ids == domain
            windows = spread_windows(size, sequence_length + 1, int(mine.sum()))
            if windows.size < mine.sum():
                raise CorpusError(
                    f"training.probe_tokens = {num_tokens}: domain {self.domains[domain]} has held-out text"
                    f" for {windows.size} sequences of the {mine.sum()} needed; lower it."
                )
            starts[mine] = windows[turns[mine]]
        return self._cut(self.held_out_tokens, domain_ids, starts, sequence_length)


def load_corpus(
    config: CorpusConfig, *, cache_dir: Path | None = None, data_folder: Path = DATA_FOLDER
) -> Corpus:
    """Read, split and tokenize a corpus, or load it from the cache (`cache_dir`, else the user's).

    Raises CorpusError if committed data is missing or damaged, or if a domain cannot be split.
    """
    parts = sources(config.name, data_folder)
    names = tuple(part.name for part in parts)
    key = _key(config, [(part.name, part.key()) for part in parts])
    folder = cache_dir or cache.default_folder()
    path = folder / f"corpus-{config.name}-{config.vocab_size}-{key[:16]}.npz" if folder else None
    stored = cache.read(path) if path else None
    corpus = _restore(config, names, key, stored) if stored is not None else None
    if corpus is None:
        built = {**_build(config, [part.read() for part in parts]), "key": _pack(key)}
        if path:
            cache.write(path, built)
        corpus = _restore(config, names, key, built)
    if corpus is None:
        raise CorpusError(f"corpus {config.name}: was built but does not fit its configuration; report this.")
    return corpus


def _key(config: CorpusConfig, texts: list[tuple[str, str]]) -> str:
    """Digest of everything that determines the arrays; needs no decompressed text."""
    version = ""
    if config.tokenizer == "bpe":
        from tokenizers import __version__ as version
    settings = {
        "format": FORMAT,
        "texts": texts,
        "held_out_share": HELD_OUT_SHARE,
        "block_bytes": BLOCK_BYTES,
        "tokenizer": [config.tokenizer, config.vocab_size, TOKENIZER_BYTES, version],
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _pack(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode("utf-8"), dtype=np.uint8)


def _training_text(domains: list[Domain]) -> Iterator[str]:
    """Pieces of training text, the same number of bytes per domain, in a fixed order."""
    sizes = [sum(unit.num_bytes for unit in domain.train) for domain in domains]
    share = min(*sizes, TOKENIZER_BYTES // len(domains))
    for domain, size in zip(domains, sizes, strict=True):
        bytes_left = share
        # Every n-th piece first: the share is a sample of the whole text, not its beginning.
        pieces = [piece for unit in domain.train for piece in blocks("", unit.text)]
        stride = size // share
        for piece in (piece for offset in range(stride) for piece in pieces[offset::stride]):
            if bytes_left <= 0:
                break
            bytes_left -= piece.num_bytes
            yield piece.text


def _build(config: CorpusConfig, domains: list[Domain]) -> cache.Arrays:
    tokenizer: Tokenizer
    if config.tokenizer == "bytes":
        tokenizer, definition = ByteTokenizer(), ""
    else:
        tokenizer = train_bpe(_training_text(domains), config.vocab_size)
        definition = tokenizer.definition
    smallest = np.min_scalar_type(config.vocab_size - 1)
    arrays: cache.Arrays = {"tokenizer": _pack(definition)}
    for index, domain in enumerate(domains):
        for split, units in (("train", domain.train), ("held_out", domain.held_out)):
            ids = tokenizer.encode_many([unit.text for unit in units])
            arrays[f"{split}_{index}"] = np.concatenate(ids).astype(smallest)
    return arrays


def _restore(config: CorpusConfig, names: tuple[str, ...], key: str, arrays: cache.Arrays) -> Corpus | None:
    """A corpus from its arrays; None if they do not match this configuration."""
    expected = {
        "key",
        "tokenizer",
        *(f"{split}_{i}" for split in ("train", "held_out") for i in range(len(names))),
    }
    if set(arrays) != expected or arrays["key"].tobytes().decode("utf-8", "replace") != key:
        return None
    definition = arrays["tokenizer"].tobytes()
    tokenizer: Tokenizer = ByteTokenizer()
    if config.tokenizer == "bpe":
        tokenizer = BpeTokenizer(definition.decode("utf-8"))
    if tokenizer.vocab_size != config.vocab_size:
        return None
    return Corpus(
        name=config.name,
        domains=names,
        digest=hashlib.sha256(key.encode() + definition).hexdigest(),
        vocab_size=config.vocab_size,
        tokenizer=tokenizer,
        train_tokens=tuple(arrays[f"train_{i}"] for i in range(len(names))),  # type: ignore[misc]
        held_out_tokens=tuple(arrays[f"held_out_{i}"] for i in range(len(names))),  # type: ignore[misc]
    )
