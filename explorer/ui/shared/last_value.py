"""Results about things that grow: only the newest version of each is kept."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class LastValueCache(Generic[T]):
    """One value per name, built again when its version changes; the least recently built names go first."""

    def __init__(self, most: int = 32) -> None:
        self._most = most
        self._values: OrderedDict[Hashable, tuple[Hashable, T]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: Hashable, version: Hashable, build: Callable[[], T]) -> T:
        """The value of this name at this version; `build` is called only when the version is new."""
        with self._lock:
            entry = self._values.get(name)
        if entry is not None and entry[0] == version:
            return entry[1]
        value = build()
        with self._lock:
            self._values[name] = (version, value)
            self._values.move_to_end(name)
            while len(self._values) > self._most:
                self._values.popitem(last=False)
        return value
