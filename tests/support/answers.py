"""What a question of a page answers."""

from explorer.figures.panel import Panel, Question
from explorer.figures.store import OpenStore


def panel_of(store: OpenStore, question: Question) -> Panel:
    """The panel of a question that has one, with a table."""
    answer = question.answer(store)
    assert isinstance(answer, Panel), answer
    assert answer.table is not None
    return answer
