"""The simulations of random-routing baselines, remembered beside the index while a query runs for it."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from explorer import metrics
from explorer.metrics import counts as counts_module
from explorer.metrics import references as references_module
from explorer.store.memo import Memo

_memo: ContextVar[Memo | None] = ContextVar("memo", default=None)


@contextmanager
def remembering(memo: Memo) -> Iterator[None]:
    """Look simulations up here, and enter new ones, inside the block and in this thread."""
    token = _memo.set(memo)
    try:
        yield
    finally:
        _memo.reset(token)


def uniform(
    num_experts: int, top_k: int, tokens: Sequence[int], num_layers: int
) -> dict[int, tuple[float, float]]:
    """See `metrics.uniform_references`."""
    sizes = sorted({int(n) for n in tokens if n > 0})

    def compute() -> list[float]:
        bands = metrics.uniform_references(num_experts, top_k, sizes, num_layers)
        return [end for n in sizes for end in bands[n]]

    ends = _remembered(f"uniform {num_experts} {top_k} {num_layers} {sizes}", compute)
    return dict(zip(sizes, zip(ends[::2], ends[1::2], strict=True), strict=True))


def resampled(counts: NDArray[np.int64], sequences: int, domains: Sequence[object]) -> tuple[float, float]:
    """See `metrics.resampled_reference`."""
    content = hashlib.sha256(np.ascontiguousarray(counts).tobytes())
    content.update(f"{counts.shape} {counts.dtype} {[str(domain) for domain in domains]}".encode())

    def compute() -> tuple[float, float]:
        return metrics.resampled_reference(counts, sequences, strata=domains)

    mean, p95 = _remembered(f"resampled {sequences} {content.hexdigest()}", compute)
    return mean, p95


def memoised(key: str, compute: Callable[[], Sequence[float]]) -> Sequence[float]:
    """The numbers of a key, which names all that they depend on; computed where the memo lacks them."""
    memo = _memo.get()
    return compute() if memo is None else memo.get(key, compute)


def _remembered(key: str, compute: Callable[[], Sequence[float]]) -> Sequence[float]:
    return memoised(f"{_program()} {key}", compute)


@cache
def _program() -> str:
    """A digest of the simulation: results of another version are not taken for its own."""
    files = (references_module.__file__, counts_module.__file__)
    content = b"".join(Path(file).read_bytes() for file in files) + np.__version__.encode()
    return hashlib.sha256(content).hexdigest()[:16]
