"""Two lossless tokenizers: byte-level BPE trained on the corpus itself, and raw bytes.

Both work offline. BPE follows GPT-2's recipe (byte-level alphabet of 256 symbols, so there are no
unknown characters), trained with Hugging Face `tokenizers`; the same text gives the same merges.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from explorer.corpus.units import blocks
from explorer.errors import CorpusError

Ids = NDArray[np.int64]


class Tokenizer(Protocol):
    """Text to token ids and back; `decode(encode(text)) == text` for every text."""

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""

    @property
    def token_lengths(self) -> Ids:
        """Bytes of text per id, [vocab_size]."""

    def encode(self, text: str) -> Ids:
        """Token ids, [num_tokens]."""

    def encode_many(self, texts: Sequence[str]) -> list[Ids]:
        """`encode` of each text; faster than one call per text."""

    def decode(self, ids: ArrayLike) -> str:
        """Text of the ids; incomplete characters become U+FFFD."""

    def to_json(self) -> dict[str, Any]:
        """Plain data for `tokenizer.json`; `tokenizer_from_json` reads it back."""


class ByteTokenizer:
    """One token per byte: 256 ids, no training."""

    vocab_size = 256

    @property
    def token_lengths(self) -> Ids:
        return np.ones(256, dtype=np.int64)

    def encode(self, text: str) -> Ids:
        return np.frombuffer(text.encode("utf-8"), dtype=np.uint8).astype(np.int64)

    def encode_many(self, texts: Sequence[str]) -> list[Ids]:
        return [self.encode(text) for text in texts]

    def decode(self, ids: ArrayLike) -> str:
        return _checked(ids, 256).astype(np.uint8).tobytes().decode("utf-8", errors="replace")

    def to_json(self) -> dict[str, Any]:
        return {"type": "bytes", "vocab_size": 256}


class BpeTokenizer:
    """Byte-level BPE around a trained `tokenizers.Tokenizer`."""

    def __init__(self, definition: str) -> None:
        """definition: the library's JSON text of a byte-level BPE."""
        import tokenizers  # takes 30 ms, and the bytes tokenizer does not need it

        self.definition = definition
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(definition)
        except Exception as error:  # the library raises bare Exception
            raise CorpusError(
                f"tokenizer: its definition cannot be read ({error}); delete the file, it is rebuilt."
            ) from error
        # Every character of a byte-level token stands for one byte.
        vocabulary = self._tokenizer.get_vocab()
        self.token_lengths: Ids = np.zeros(len(vocabulary), dtype=np.int64)
        for token, index in vocabulary.items():
            self.token_lengths[index] = len(token)

    @property
    def vocab_size(self) -> int:
        return int(self.token_lengths.size)

    def encode(self, text: str) -> Ids:
        # In pieces: one long string takes three times as long.
        parts = self._encode([piece.text for piece in blocks("", text)])
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    def encode_many(self, texts: Sequence[str]) -> list[Ids]:
        pieces = [[piece.text for piece in blocks("", text)] for text in texts]
        parts = iter(self._encode([piece for text in pieces for piece in text]))
        none = np.zeros(0, dtype=np.int64)
        return [np.concatenate([next(parts) for _ in text]) if text else none for text in pieces]

    def _encode(self, pieces: list[str]) -> list[Ids]:
        with one_thread():
            encodings = self._tokenizer.encode_batch_fast(pieces, add_special_tokens=False)
        return [np.asarray(encoding.ids, dtype=np.int64) for encoding in encodings]

    def decode(self, ids: ArrayLike) -> str:
        text: str = self._tokenizer.decode(_checked(ids, self.vocab_size).tolist(), skip_special_tokens=False)
        return text

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.definition)
        return data


def _checked(ids: ArrayLike, vocab_size: int) -> Ids:
    array = np.asarray(ids, dtype=np.int64).ravel()
    if array.size and not 0 <= array.min() <= array.max() < vocab_size:
        bad = array[(array < 0) | (array >= vocab_size)][0]
        raise CorpusError(
            f"token id {bad}: must be from 0 to {vocab_size - 1}; use the tokenizer that made the ids."
        )
    return array


@contextmanager
def one_thread() -> Iterator[None]:
    """Let `tokenizers` run in this thread, unless the user has set TOKENIZERS_PARALLELISM.

    The library reads the variable at every call. Its own threads would compete with a training run for
    the cores, and a later fork would print warnings. The variable is restored afterwards.
    """
    if "TOKENIZERS_PARALLELISM" in os.environ:
        yield
        return
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        yield
    finally:
        os.environ.pop("TOKENIZERS_PARALLELISM", None)


def train_bpe(texts: Iterable[str], vocab_size: int) -> BpeTokenizer:
    """Train on pieces of text; CorpusError if there is too little text for so many merges."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    model = Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=False,
    )
    with one_thread():
        model.train_from_iterator(texts, trainer=trainer)
    tokenizer = BpeTokenizer(model.to_str())
    if tokenizer.vocab_size != vocab_size:
        raise CorpusError(
            f"corpus.vocab_size = {vocab_size}: the text yields only {tokenizer.vocab_size} tokens; lower it."
        )
    return tokenizer


def tokenizer_from_json(data: dict[str, Any]) -> Tokenizer:
    """The tokenizer that `to_json` described, e.g. from a run's `tokenizer.json`."""
    return ByteTokenizer() if data.get("type") == "bytes" else BpeTokenizer(json.dumps(data))
