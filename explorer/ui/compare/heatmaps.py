"""The heatmaps of the Compare page: drawn on a canvas in the browser, exported as charts.

Four charts of Vega with thousands of rectangles took most of the time of another layer; a canvas gets the
cells alone and draws them as one image. The chart of a question is built when it is exported.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import streamlit as st

from explorer.charts import captions, linking
from explorer.figures import events, loads, many_experts
from explorer.figures.panel import Missing, Panel, Question, slug
from explorer.figures.store import Trace
from explorer.queries import loads as queries
from explorer.queries.many_experts import load_ranks
from explorer.ui.components.load_map import LoadMap, load_map, load_map_of, rank_map_of
from explorer.ui.shared import display, exports, panels, show, store


def heatmap(question: Question, *, marked: bool) -> Mapping[str, Any] | None:
    """The heatmap of a question of `figures.loads.heatmap`; the cell that was clicked, if one was.

    marked: whether any heatmap beside it has event marks. A slide or a course page gets the chart of the
    files: it has no other figure to follow.
    """
    (arm,), settings = question.arms, question.settings
    text_of = many_experts.cells_for_text(Trace(store.STORE), arm.first, settings)
    if display.is_embedded() or text_of.is_empty():
        return show.question(question, text=False, pick=True)
    is_many = many_experts.is_many(arm.first, settings.layer)
    key = slug(question.key)
    panels.add_later(key, partial(_panel, question))
    subject = loads.heatmap_subject(question.arms, settings)
    with st.container(key=f"panel-{key}"):
        picked = load_map(
            _cells(question),
            title=question.arms.title(arm),
            alt=captions.alt_text(subject, captions.load_heatmap(text_of)),
            key=f"map_{question.key}",
            scope=linking.scope_of(arm.first.run_id),
            height=many_experts.MAP_PX if is_many else loads.SMALL_PX,
            marked=marked,
            scale=display.FACTOR if display.is_lecture() else 1.0,
        )
    exports.menu(question.key, subject=subject)
    return picked


def _panel(question: Question) -> Panel:
    answer = store.answer(question)
    assert not isinstance(answer, Missing), "a heatmap with rows has a chart"
    return answer


def _cells(question: Question) -> LoadMap:
    return store.derived(question, _load_map)


def _load_map(question: Question) -> LoadMap:
    (arm,), settings = question.arms, question.settings
    at = (arm.first, settings.layer)
    marked = events.of_layer(Trace(store.STORE), *at)
    if many_experts.is_many(*at):
        return rank_map_of(store.ask(load_ranks, *at, settings.bins), marked)
    return load_map_of(store.ask(queries.load_heatmap, *at, settings.bins), marked)
