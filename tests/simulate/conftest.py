"""A smaller pool of scores, for the modules that ask for it."""

from collections.abc import Iterator

import pytest
from small_pools import pool_of


@pytest.fixture(scope="module")
def small_pool() -> Iterator[None]:
    with pool_of(2**14):
        yield
