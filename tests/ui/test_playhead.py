"""The playhead of a replay: a tick that brings an old step back does not undo a move."""

import pytest
from streamlit.testing.v1 import AppTest

from explorer.ui.replay import playhead


def script(*moves: str) -> AppTest:
    """Run `a` at step 5, moved to 9 by the player; then these moves, one of which may be an echo."""
    lines = [
        "from types import SimpleNamespace",
        "from explorer.ui.replay import playhead",
        "from explorer.ui.shared import state",
        "a, b = (SimpleNamespace(run_id=name, last_step=20) for name in 'ab')",
        "state.put('step', 5)",
        "playhead.move(a, 9)",
        *moves,
    ]
    app = AppTest.from_string("\n".join(lines)).run()
    assert not app.exception
    return app


@pytest.mark.parametrize(
    ("moves", "step"),
    [
        (["state.put('step', 5)", "playhead.undo_echo(a)"], 9),
        (["state.put('step', 7)", "playhead.undo_echo(a)"], 7),
        (["state.put('step', 5)", "playhead.undo_echo(b)"], 5),
        (["playhead.go_to(5)", "playhead.undo_echo(a)"], 5),
        (["playhead.select_event(20, dict(step=5, layer=None, expert=None))", "playhead.undo_echo(a)"], 5),
        (["playhead.move(a, 99)", "playhead.undo_echo(a)"], 20),
    ],
    ids=["an echo", "typed", "another run's step", "a link", "an event", "beyond the last step"],
)
def test_only_an_echo_of_the_same_run_is_undone(moves: list[str], step: int) -> None:
    assert script(*moves).session_state["step"] == step


def test_an_old_move_undoes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playhead, "ECHO_S", 0)
    assert script("state.put('step', 5)", "playhead.undo_echo(a)").session_state["step"] == 5
