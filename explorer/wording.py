"""Small parts of sentences that are the same everywhere."""


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 step`, `2,000 steps`; `plural` where it is not noun + s."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
