"""Events for pages that still ask through `cached`; the words are those of `figures.events`."""

import polars as pl

from explorer.charts import event_marks
from explorer.figures.events import marks_note as marks_note
from explorer.queries import statements as asked


def of_layer(events: pl.DataFrame, layer: int) -> pl.DataFrame:
    """The events of one layer and those that concern no layer."""
    return asked.mark(event_marks.of_layer(events, layer), asked.of(events))
