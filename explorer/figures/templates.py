"""Charts that are built once and take other rows.

Building a chart with Altair takes a tenth of a second, and a browser draws a chart anew whenever its
specification changes. A chart that follows a slider or a click therefore keeps its specification and only
exchanges rows.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import polars as pl

from explorer.charts import spec as specs
from explorer.charts import theme
from explorer.charts.spec import Spec

MOST = 128
"""Charts that are kept."""
_charts: OrderedDict[Hashable, Spec] = OrderedDict()
_lock = threading.Lock()


def with_rows(key: Hashable, rows: Sequence[pl.DataFrame], build: Callable[[], theme.Figure]) -> Spec:
    """The chart of this kind with these rows.

    `key` names the kind and everything but the rows that the chart depends on. An empty frame leaves no data
    set in a chart, so `key` must also say which frames are empty. `build` draws the chart once per kind.
    """
    chart = _kept(key, build)
    for part in rows:
        chart = chart.with_rows(part)
    return chart


def template(chart: Callable[..., theme.Figure], *frames: pl.DataFrame, **settings: Any) -> Spec:
    """The specification of `chart(*frames, **settings)`; equal arguments give the same one.

    Frames count by content, so that runs of one name in two stores are kept apart. The caller exchanges rows
    with `Spec.with_rows`; the frames given here hold rows that no click changes, and placeholders.
    """
    key = (
        f"{chart.__module__}.{chart.__qualname__}",
        *map(_content, frames),
        *((name, _content(value)) for name, value in sorted(settings.items())),
    )
    return _kept(key, lambda: chart(*frames, **settings))


def _kept(key: Hashable, build: Callable[[], theme.Figure]) -> Spec:
    with _lock:
        if key in _charts:
            _charts.move_to_end(key)
            return _charts[key]
    chart = specs.make(build())
    with _lock:
        _charts[key] = chart
        while len(_charts) > MOST:
            _charts.popitem(last=False)
    return chart


def _content(value: Any) -> Hashable:
    """A frame's columns, types and values as a key; other values as they are."""
    if isinstance(value, pl.DataFrame):
        return (str(value.schema), value.write_ipc(None).getvalue())
    return value  # type: ignore[no-any-return]
