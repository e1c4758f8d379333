"""The runs of a test's own `store`, as the views take them."""

import pytest

from explorer.figures.arms import Run, run_from_row
from explorer.figures.store import OpenStore
from explorer.queries.runs import list_runs


@pytest.fixture(scope="module")
def runs(store: OpenStore) -> list[Run]:
    """All runs of the index, newest first."""
    with store.index.cursor() as cur:
        return [run_from_row(row) for row in list_runs(cur).to_dicts()]
