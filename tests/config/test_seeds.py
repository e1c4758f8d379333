"""One grammar of seeds for the command line and the Train page."""

import pytest

from explorer.config.seeds import MOST_SEEDS, parse_seeds
from explorer.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("3", [3]),
        ("0,1,2", [0, 1, 2]),
        (" 3, 1 ,", [3, 1]),
        ("0-4", [0, 1, 2, 3, 4]),
        ("7, 2 - 3,0", [7, 2, 3, 0]),
        ("5-5", [5]),
        ("9223372036854775806-9223372036854775807", [2**63 - 2, 2**63 - 1]),
        (f"1-{MOST_SEEDS}", list(range(1, MOST_SEEDS + 1))),
    ],
)
def test_numbers_and_ranges_are_read_in_their_order(text: str, seeds: list[int]) -> None:
    assert parse_seeds("--seeds", text) == seeds


@pytest.mark.parametrize(
    "text",
    ["", " , ", "x", "-1", "1,-1", "0-", "0--4", "0-4-8", "4-0", "1,1", "0-4,3", "1.5", "\N{SUPERSCRIPT TWO}",
     "9223372036854775808", f"0-{MOST_SEEDS}", f"0-600,700-1{MOST_SEEDS}", f"0-{2**63 - 1}"],
)  # fmt: skip
def test_anything_else_is_refused_by_the_name_of_the_field(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_seeds("--seeds", text)
    assert refused.value.field == "--seeds"
