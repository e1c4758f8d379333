"""Parsing of seed lists, for the command line and the Train page."""

from dataclasses import replace

from explorer.config.checks import check_int, read_int
from explorer.config.run import RunConfig
from explorer.errors import ConfigError

MOST_SEEDS = 1000
"""Most seeds in one list; a larger range is most likely a typing mistake."""
REMEDY = "write 0, or 0,1,2, or 0-4"


def parse_seed(field: str, text: str) -> int:
    """One seed: a whole number of at least 0. Raises ConfigError that names the field."""
    return read_int(field, text, least=0, remedy="write 0 or more")


def parse_seeds(field: str, text: str) -> list[int]:
    """Seeds separated by commas, each a whole number or an inclusive range; every seed once.

    Raises ConfigError that names the field.

    >>> parse_seeds("--seeds", "7, 0-2")
    [7, 0, 1, 2]
    """
    pieces = [piece.strip() for piece in text.split(",") if piece.strip()]
    if not pieces:
        raise ConfigError(field, text, "names no seed", REMEDY)
    seeds = [seed for piece in pieces for seed in _range(field, piece)]
    _check_length(field, text, len(seeds))
    if len(set(seeds)) < len(seeds):
        raise ConfigError(field, text, "names a seed twice", "name each once")
    return seeds


def _range(field: str, piece: str) -> range:
    """`4` is itself, `0-4` is 0, 1, 2, 3, 4; a dash without a number before it is a minus sign."""
    first, dash, last = piece.partition("-")
    if not (dash and first.strip()):
        start = read_int(field, piece, least=0, remedy=REMEDY)
        return range(start, start + 1)
    start = read_int(field, first, least=0, remedy=REMEDY)
    end = read_int(field, last, least=0, remedy=REMEDY)
    if end < start:
        raise ConfigError(field, piece, "is a range that ends before it begins", REMEDY)
    _check_length(field, piece, end - start + 1)
    return range(start, end + 1)


def _check_length(field: str, text: str, number: int) -> None:
    if number > MOST_SEEDS:
        raise ConfigError(field, text, f"names {number:,} seeds, at most {MOST_SEEDS:,}", "name fewer")


def with_seed(config: RunConfig, seed: int) -> RunConfig:
    """The same run with other initial weights and another order of the data."""
    check_int("training.seed", seed, least=0)
    return replace(config, training=replace(config.training, seed=seed))
