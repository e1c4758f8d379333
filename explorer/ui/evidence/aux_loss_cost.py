"""The price of the auxiliary loss on one card: the answer, the numbers behind it, and where to see it."""

import streamlit as st

from explorer.figures import aux_loss_cost
from explorer.figures import course as course_files
from explorer.ui.shared import links, show

ANCHOR, TABLE = "aux-loss-cost", "aux_loss_cost_table"
# Four columns on a phone would be a word wide each: a row becomes a paragraph that begins with its name.
_ON_A_PHONE = f"""
@media (max-width: 640px) {{
  .st-key-{TABLE} :is(table, tbody, tr) {{ display: block; }}
  .st-key-{TABLE} thead {{ display: none; }}
  .st-key-{TABLE} td {{ display: block; width: auto; border: 0; padding: .1rem 0; }}
  .st-key-{TABLE} td:first-child {{ font-weight: 600; padding-top: .6rem; }}
  .st-key-{TABLE} td:last-child {{ padding-bottom: .6rem; }}
  .st-key-{TABLE} tr {{ border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }} }}
"""
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
    with st.container(border=True):
        st.subheader(aux_loss_cost.QUESTION, anchor=ANCHOR)
        st.markdown(show.plain(answer))
        st.html(f"<style>{_ON_A_PHONE}</style>")
        with st.container(key=TABLE):
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
