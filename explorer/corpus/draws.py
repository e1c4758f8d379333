"""Random choices for generated text that are the same in every version of Python and numpy.

Only `random.Random.random()` is used, whose values for a seed are promised not to change; its methods that
choose and shuffle carry no such promise.
"""

import hashlib
from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


class Draws:
    """A reproducible stream of choices."""

    def __init__(self, *seed: object) -> None:
        """The same parts give the same stream; any other parts an unrelated one."""
        digest = hashlib.sha256("\0".join(map(str, seed)).encode("utf-8")).digest()
        self._random = Random(int.from_bytes(digest[:8], "big"))

    def below(self, end: int) -> int:
        """A whole number from 0 to end - 1."""
        return int(self._random.random() * end)

    def choice(self, values: Sequence[T]) -> T:
        return values[self.below(len(values))]

    def sample(self, values: Sequence[T], count: int) -> list[T]:
        """`count` distinct places, in random order."""
        pool = list(values)
        return [pool.pop(self.below(len(pool))) for _ in range(count)]

    def shuffled(self, values: Sequence[T]) -> list[T]:
        return self.sample(values, len(values))


def fraction(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone: which split an entity or a program belongs to."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
