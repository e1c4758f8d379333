"""Generated programming problems: a signature with a docstring, and a body of three short lines.

    def solve(xs):
        \"\"\"Take the sum of xs, add 3, then multiply by 4.\"\"\"
        value = sum(xs)
        value = value + 3
        return value * 4

Small models can learn them, so that a completion that is executed has a chance to pass. Held-out programs are
combinations of start, steps and numbers that no training program has.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from explorer.corpus.draws import Draws, fraction
from explorer.corpus.units import Domain, Unit

VERSION = 1
"""Increment when any generated text changes: it enters the digest of the corpus."""
TRAIN_PROGRAMS, HELD_OUT_PROGRAMS = 12_000, 1_000
HELD_OUT_SHARE = 0.1
FUNCTION = "solve"
STARTS = (
    ("the sum", "sum(xs)"),
    ("the length", "len(xs)"),
    ("the largest", "max(xs)"),
    ("the smallest", "min(xs)"),
    ("the first", "xs[0]"),
    ("the last", "xs[-1]"),
)
STEPS = (("add", "+"), ("subtract", "-"), ("multiply by", "*"))
NUMBERS = range(2, 22)
NUM_TESTS = 5


@dataclass(frozen=True, kw_only=True)
class Program:
    """One problem with its solution; fields are places in STARTS and STEPS, and numbers."""

    start: int
    steps: tuple[tuple[int, int], tuple[int, int]]
    """(place in STEPS, number) of the second and the third line."""

    @property
    def is_held_out(self) -> bool:
        return fraction("program", VERSION, self.start, *self.steps) < HELD_OUT_SHARE

    @property
    def prompt(self) -> str:
        """Signature and docstring."""
        (first, a), (second, b) = self.steps
        words = f"Take {STARTS[self.start][0]} of xs, {STEPS[first][0]} {a}, then {STEPS[second][0]} {b}."
        return f'def {FUNCTION}(xs):\n    """{words}"""\n'

    @property
    def solution(self) -> str:
        """The body that training shows; any body that computes the same passes."""
        (first, a), (second, b) = self.steps
        return (
            f"    value = {STARTS[self.start][1]}\n    value = value {STEPS[first][1]} {a}\n"
            f"    return value {STEPS[second][1]} {b}\n"
        )

    @property
    def text(self) -> str:
        """The text to train on; an empty line ends the body."""
        return f"{self.prompt}{self.solution}\n"

    def result(self, xs: list[int]) -> int:
        """The right result, computed without executing text."""
        value = (sum(xs), len(xs), max(xs), min(xs), xs[0], xs[-1])[self.start]
        for step, number in self.steps:
            value = (value + number, value - number, value * number)[step]
        return value

    def inputs(self) -> list[list[int]]:
        """Lists to test with, on which the starts differ."""
        draws = Draws("inputs", VERSION, self.start, self.steps)
        return [[draws.below(90) - 30 for _ in range(3 + test)] for test in range(NUM_TESTS)]


def programs(split: str, count: int, seed: int = 0) -> Iterator[Program]:
    """The first `count` programs of a split (train, held_out); those of seed 0 are the corpus's own."""
    draws = Draws("programs", VERSION, seed, split)
    num_left = count
    while num_left:
        first, second = ((draws.below(len(STEPS)), draws.choice(NUMBERS)) for _ in range(2))
        one = Program(start=draws.below(len(STARTS)), steps=(first, second))
        if one.is_held_out == (split == "held_out"):
            num_left -= 1
            yield one


def domain() -> Domain:
    """The corpus domain: one unit per program."""

    def units(split: str, count: int) -> tuple[Unit, ...]:
        each = enumerate(programs(split, count))
        return tuple(Unit(name=f"programs/{split}/{number}", text=one.text) for number, one in each)

    return Domain(
        name="programs", train=units("train", TRAIN_PROGRAMS), held_out=units("held_out", HELD_OUT_PROGRAMS)
    )
