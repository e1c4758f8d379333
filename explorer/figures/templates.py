"""Charts that take other rows: built once for what they have in common.

Building a chart takes Altair a tenth of a second, and a browser draws a chart anew whenever its specification
changes. A chart that follows a click therefore keeps its specification and only exchanges rows.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import polars as pl

from explorer.charts import spec as specs
from explorer.charts import theme
from explorer.charts.spec import Spec

MOST = 64
_templates: OrderedDict[Hashable, Spec] = OrderedDict()
_lock = threading.Lock()


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
    with _lock:
        if key in _templates:
            _templates.move_to_end(key)
            return _templates[key]
    spec = specs.make(chart(*frames, **settings))
    with _lock:
        _templates[key] = spec
        while len(_templates) > MOST:
            _templates.popitem(last=False)
    return spec


def _content(value: Any) -> Hashable:
    """A frame's columns, types and values as a key; other values as they are."""
    if isinstance(value, pl.DataFrame):
        return (str(value.schema), value.write_ipc(None).getvalue())
    return value  # type: ignore[no-any-return]
