"""The price of the auxiliary loss on one card: the answer, the numbers behind it, and where to see it."""

import streamlit as st

from explorer.figures import aux_loss_cost
from explorer.figures import course as course_files
from explorer.ui.shared import links, show

ANCHOR = "aux-loss-cost"
KEY = "aux_loss_cost"
_NARROW = f"""
@media (max-width: 900px) {{
  .st-key-{KEY} thead {{ display: none; }}
  .st-key-{KEY} tr {{ display: block; padding-block: .5rem; }}
  .st-key-{KEY} tr + tr {{ border-top: 1px solid color-mix(in srgb, currentColor 20%, transparent); }}
  .st-key-{KEY} td {{
    border: 0 !important; display: block; padding-block: .1rem !important; width: auto !important; }}
  .st-key-{KEY} td:first-child {{ font-weight: 600; }} }}
"""
"""Five columns are too narrow for sentences: a row becomes a block, its first cell the heading."""
LESSONS = (
    "the-dilemma-of-the-auxiliary-loss",
    "scope-the-hidden-variable",
    "what-the-gain-really-is",
)
"""Lessons that show a part of it, by their names in an address."""


def card() -> None:
    """Nothing where too few runs are here to answer."""
    answer = aux_loss_cost.answer()
    if not answer:
        return
    with st.container(border=True, key=KEY):
        st.html(f"<style>{_NARROW}</style>")
        st.subheader(aux_loss_cost.QUESTION, anchor=ANCHOR)
        st.markdown(show.plain(answer))
        st.table(
            aux_loss_cost.table(),
            border="horizontal",
            hide_index=True,
            alt="Table of the parts of the price, each with its measured value and verdict",
        )
        show.note(
            "Values are mean paired differences with the half width of their 95 % interval. Verdicts are "
            "corrected for all comparisons of this page; open a claim below for its runs."
        )
        _lessons()


def _lessons() -> None:
    course = course_files.course()
    with st.container(horizontal=True, gap="small"):
        for number, lesson in enumerate(course.lessons, 1):
            if lesson.slug in LESSONS:
                links.page("lessons", f"Lesson {number}: {lesson.title}", lesson=lesson.slug)
