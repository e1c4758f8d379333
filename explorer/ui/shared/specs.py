"""Figures kept as specifications: building one takes a tenth of a second, showing it again takes none.

A figure of Altair is checked against a schema while it is built, which is by far the slowest thing on a
page. So every figure is built once for its data and kept; when the playhead moves, only the one row
that says where it stands is exchanged.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import streamlit as st

from explorer.charts import theme
from explorer.charts.spec import SOMEWHERE as SOMEWHERE
from explorer.charts.spec import Spec as Spec
from explorer.charts.spec import make as make
from explorer.charts.spec import without_legend as without_legend


def kept(key: Hashable, build: Callable[[], theme.Figure]) -> Spec:
    """The specification for this key; `build` is called only when it is not known yet.

    The key names the kind of figure and everything that it depends on: versions of runs, never frames.
    """
    return _kept(key, build)


@st.cache_resource(max_entries=300, show_spinner=False)
def _kept(key: Hashable, _build: Callable[[], theme.Figure]) -> Spec:
    return make(_build())


class Latest:
    """The latest figure of things that grow: one is kept for each, and built again when there is more."""

    def __init__(self, most: int = 32) -> None:
        self._most = most
        self._shown: OrderedDict[Hashable, tuple[Hashable, Spec]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: Hashable, version: Hashable, build: Callable[[], theme.Figure]) -> Spec:
        """The figure of this name at this version; `build` is called only when the version is new."""
        with self._lock:
            shown = self._shown.get(name)
        if shown is not None and shown[0] == version:
            return shown[1]
        spec = make(build())
        with self._lock:
            self._shown[name] = (version, spec)
            self._shown.move_to_end(name)
            while len(self._shown) > self._most:
                self._shown.popitem(last=False)
        return spec


latest = Latest()
