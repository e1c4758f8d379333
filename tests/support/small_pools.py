"""Simulations with a smaller pool of scores, which is quicker to draw and proves the same."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from explorer.simulate import scores


@contextmanager
def pool_of(numbers: int, *clear: Callable[[], None]) -> Iterator[None]:
    """Let a pool have this many numbers for a while. clear: empty the caches that depend on it."""
    before, scores.POOL_NUMBERS = scores.POOL_NUMBERS, numbers
    forget = (scores.scores_of.cache_clear, *clear)
    for one in forget:
        one()
    yield
    scores.POOL_NUMBERS = before
    for one in forget:
        one()
