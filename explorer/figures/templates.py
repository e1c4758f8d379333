"""Charts whose rows are exchanged while a slider moves.

Building a chart with Altair takes a tenth of a second, exchanging its rows takes none. A chart that follows a
slider is therefore built once per kind and gets the rows of every new value.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import polars as pl

from explorer.charts import spec as specs
from explorer.charts import theme

MOST = 64
"""Kinds of charts that are kept."""
_charts: OrderedDict[Hashable, specs.Spec] = OrderedDict()
_lock = threading.Lock()


def with_rows(key: Hashable, rows: Sequence[pl.DataFrame], build: Callable[[], theme.Figure]) -> specs.Spec:
    """The chart of this kind with these rows.

    `key` names the kind and everything but the rows that the chart depends on. An empty frame leaves no data
    set in a chart, so `key` must also say which frames are empty. `build` draws the chart once per kind.
    """
    with _lock:
        chart = _charts.get(key)
    if chart is None:
        chart = specs.make(build())
    with _lock:
        _charts[key] = chart
        _charts.move_to_end(key)
        while len(_charts) > MOST:
            _charts.popitem(last=False)
    for part in rows:
        chart = chart.with_rows(part)
    return chart
