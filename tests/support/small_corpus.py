"""A corpus that takes no time to build."""

import pytest

from explorer.corpus import corpus, domains
from explorer.corpus.units import Unit


def use_small_corpus(monkeypatch: pytest.MonkeyPatch) -> list[Unit]:
    """Let every corpus have one domain, english, of 200 short units; changes of the list change the text."""
    units = [
        Unit(name=f"u{i}", text=f"Unit {i} is about {i * i} things, {i % 7} of them green.\n" * 4)
        for i in range(200)
    ]
    source = domains.Source(name="english", key=lambda: str(len(units)), units=lambda: list(units))
    monkeypatch.setattr(corpus, "sources", lambda name, folder: (source,))
    return units
