"""Figures kept as specifications: building one takes a tenth of a second, showing it again takes none.

A figure of Altair is checked against a schema while it is built, which is by far the slowest thing on a
page. So every figure is built once for its data and kept; when the playhead moves, only the one row
that says where it stands is exchanged.
"""

from collections.abc import Callable, Hashable
from typing import Any

import streamlit as st

from explorer.charts import theme
from explorer.charts.spec import SOMEWHERE as SOMEWHERE
from explorer.charts.spec import Spec as Spec
from explorer.charts.spec import make as make
from explorer.charts.spec import without_legend as without_legend
from explorer.ui.shared.last_value import LastValueCache


def kept(key: Hashable, build: Callable[[], theme.Figure]) -> Spec:
    """The specification for this key; `build` is called only when it is not known yet.

    The key names the kind of figure and everything that it depends on: versions of runs, never frames.
    """
    return _kept(key, build)


@st.cache_resource(max_entries=300, show_spinner=False)
def _kept(key: Hashable, _build: Callable[[], theme.Figure]) -> Spec:
    return make(_build())


class Latest(LastValueCache[Spec]):
    """The newest chart of each name; `build` makes an Altair figure."""

    def get(self, name: Hashable, version: Hashable, build: Callable[[], Any]) -> Spec:
        """See `LastValueCache.get`."""
        return super().get(name, version, lambda: make(build()))


latest = Latest()
