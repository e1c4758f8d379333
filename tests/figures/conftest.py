"""Charts of these tests are held against Vega-Lite's schema while they are built; the app leaves that out."""

from collections.abc import Iterator

import pytest
from altair.utils import schemapi

from explorer.charts import spec  # noqa: F401 (leaves it out)


@pytest.fixture(autouse=True)
def validated_charts() -> Iterator[None]:
    with schemapi.debug_mode(True):
        yield
