"""Small parts of sentences that are the same everywhere."""

from collections.abc import Sequence

DOMAINS = {"english": "English", "spanish": "Spanish", "python": "Python", "cpp": "C++", "json": "JSON"}
"""Domains of the shipped corpora whose names are proper nouns."""


def domain_name(domain: str) -> str:
    """A domain as a sentence or an axis writes it: `Spanish`; others as they were recorded."""
    return DOMAINS.get(domain, domain)


def and_list(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; where a part has a comma itself, `a, 1; b, 2; and c`."""
    if len(parts) < 3:
        return " and ".join(parts)
    if any(", " in part for part in parts):
        return "; ".join(parts[:-1]) + "; and " + parts[-1]
    return ", ".join(parts[:-1]) + " and " + parts[-1]


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 step`, `2,000 steps`; `plural` where it is not noun + s."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def percent(share: float, digits: int = 0) -> str:
    """`12.3 %`, with a space before the sign as everywhere else; a share of 1 is 100 %."""
    return f"{100 * share:.{digits}f} %"


def signed(value: float, digits: int) -> str:
    """With its sign, and a minus as long as the plus.

    >>> signed(0.5, 2), signed(-0.5, 2)
    ('+0.50', '−0.50')
    """
    return f"{value:+.{digits}f}".replace("-", "−")


def decimal(value: float) -> str:
    """A number without an exponent and without trailing zeros: `0.00001`.

    >>> decimal(2e-05), decimal(0.5), decimal(1)
    ('0.00002', '0.5', '1')
    """
    return f"{value:.12f}".rstrip("0").rstrip(".")


def listed(layers: Sequence[int]) -> str:
    """`0 to 3`, or every number where some are left out: `3, 5, 9`."""
    if list(layers) == list(range(layers[0], layers[-1] + 1)):
        return f"{layers[0]} to {layers[-1]}"
    return ", ".join(map(str, layers))


def layers_of(owner: str, layers: Sequence[int]) -> str:
    """`the MoE layers of this run are 0 to 3`, in the model's own layer numbers."""
    return f"the MoE layers of {owner} are {listed(layers)}"
