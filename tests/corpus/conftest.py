"""A corpus of few words."""

import pytest
from small_corpus import use_small_corpus

from explorer.corpus.units import Unit


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[Unit]:
    """The units of every corpus while the test runs."""
    return use_small_corpus(monkeypatch)
