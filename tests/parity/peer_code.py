"""Other projects' own routers and losses, imported as they are published.

They are development requirements without their dependencies (`requirements-parity.txt`): what is compared
here is plain torch. Two of them load GPU kernels as they are imported; a stand-in that cannot compute
anything takes the kernels' place for the moment of the import, so no kernel of theirs is part of any test.

A peer that cannot be imported skips its tests and says why. REQUIRE_PARITY=1 or CI=true makes that a failure.
"""

import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import pytest

# Kernels for GPUs that these import on the way to what is compared.
KERNELS = {
    "torchtitan": ("torchtitan.distributed.minimal_async_ep",),
    "megablocks": (
        "megablocks_ops",
        "megablocks.backend.kernels",
        "stk",
        "stk.ops",
        "stk.backend",
        "stk.backend.autocast",
        "stk.backend.triton_kernels",
    ),
}


def required() -> bool:
    """Whether a peer that is missing is a failure."""
    return os.environ.get("REQUIRE_PARITY") == "1" or os.environ.get("CI") == "true"


class Peer:
    """A module of another project, imported when a test first uses it: the import takes seconds."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        """Skips the test where the module is missing, or fails it where the module is required."""
        if attribute.startswith("_"):  # pytest looks for its own marks on every name of a module
            raise AttributeError(attribute)
        try:
            module = _imported(self._name)
        except Exception as error:
            peer = self._name.partition(".")[0]
            reason = (
                f"{peer} cannot be imported ({type(error).__name__}: {error}); see requirements-parity.txt"
            )
            if required():
                pytest.fail(f"{reason}. REQUIRE_PARITY=1 or CI=true says that it must be.", pytrace=False)
            pytest.skip(f"{reason} (REQUIRE_PARITY=1 makes this a failure)")
        return getattr(module, attribute)


def need(*names: str) -> tuple[Peer, ...]:
    """The modules of these names."""
    return tuple(map(Peer, names))


def _imported(name: str) -> ModuleType:
    with _without_kernels(KERNELS.get(name.partition(".")[0], ())), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


@contextmanager
def _without_kernels(names: Sequence[str]) -> Iterator[None]:
    stands_in = [name for name in names if name not in sys.modules]
    for name in stands_in:
        sys.modules[name] = MagicMock(name=name)
    try:
        yield
    finally:
        for name in stands_in:
            del sys.modules[name]
