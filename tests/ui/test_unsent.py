"""A queue of messages whose fragment runs again leaves no element without its parent."""

import asyncio

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime import app_session
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue

import app
from explorer.ui.server.unsent import UnsentMessages

OUTER, INNER = "outer", "inner"
Place = tuple[int, ...]


def block(place: Place, fragment: str = "") -> ForwardMsg:
    message = ForwardMsg()
    message.metadata.delta_path[:] = place
    message.delta.add_block.vertical.SetInParent()
    message.delta.fragment_id = fragment
    return message


def element(place: Place, text: str, fragment: str = "") -> ForwardMsg:
    message = ForwardMsg()
    message.metadata.delta_path[:] = place
    message.delta.new_element.markdown.body = text
    message.delta.fragment_id = fragment
    return message


def reference(place: Place) -> ForwardMsg:
    """An element that the browser knows already: it names no fragment."""
    message = ForwardMsg(ref_hash="known")
    message.metadata.delta_path[:] = place
    return message


def begins() -> ForwardMsg:
    message = ForwardMsg()
    message.new_session.name = "app"
    return message


def tick(text: str) -> list[ForwardMsg]:
    """What a fragment sends that has a block, in it another fragment, and an element behind both."""
    return [
        block((0, 0), OUTER),
        block((0, 0, 0), OUTER),
        element((0, 0, 0, 0), text, OUTER),
        block((0, 0, 0, 1), INNER),
        element((0, 0, 0, 1, 0), text, INNER),
        reference((0, 0, 0, 2)),
    ]


def put_in(queue: ForwardMsgQueue, messages: list[ForwardMsg]) -> None:
    for message in messages:
        queue.enqueue(message)


def draw(messages: list[ForwardMsg]) -> dict[Place, str]:
    """Place -> text, as the browser builds its tree: a block loses its children when it is made anew only by
    what is put into it. Raises AssertionError for an element that has no place."""
    drawn: dict[Place, str] = {(0,): ""}
    for message in messages:
        place = tuple(message.metadata.delta_path)
        if place:
            assert place[:-1] in drawn, f"the parent of {place} is missing"
            assert not place[-1] or (*place[:-1], place[-1] - 1) in drawn, f"a gap before {place}"
            drawn[place] = message.delta.new_element.markdown.body
    return drawn


def tick_twice(queue: ForwardMsgQueue) -> list[ForwardMsg]:
    """Two runs of the fragment of which nothing is sent until the second one has begun."""
    put_in(queue, [begins(), *tick("first")])
    queue.clear(retain_lifecycle_msgs=True, fragment_ids_this_run=[OUTER])
    put_in(queue, [begins(), *tick("second")])
    return queue.flush()


def test_a_tick_that_was_not_sent_leaves_no_gap_before_the_next_one() -> None:
    drawn = draw(tick_twice(UnsentMessages()))
    assert drawn[0, 0, 0, 0] == drawn[0, 0, 0, 1, 0] == "second"


def test_streamlit_alone_leaves_one() -> None:
    """Once this fails, Streamlit has mended it, and `UnsentMessages` can go."""
    with pytest.raises(AssertionError, match="missing"):
        draw(tick_twice(ForwardMsgQueue()))


def test_each_tick_is_sent_as_it_was() -> None:
    sent = tick_twice(UnsentMessages())
    assert sent == [begins(), *tick("first"), begins(), *tick("second")]


def test_a_run_of_the_whole_page_forgets_what_waits_but_not_that_a_run_began() -> None:
    queue = UnsentMessages()
    put_in(queue, [begins(), *tick("first")])
    queue.clear(retain_lifecycle_msgs=True)
    assert queue.flush() == [begins()]
    assert queue.is_empty()


def test_within_one_run_the_last_element_of_a_place_counts() -> None:
    queue = UnsentMessages()
    put_in(queue, [element((0, 0), "old"), element((0, 0), "new")])
    assert queue.flush() == [element((0, 0), "new")]


def test_sessions_of_the_app_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_session, "ForwardMsgQueue", ForwardMsgQueue)
    for step in ("start", "close"):
        monkeypatch.setattr(app.WarmUp, step, lambda _thread: None)

    async def begin() -> None:
        async with app.lifespan(app.app):
            assert app_session.ForwardMsgQueue is UnsentMessages

    asyncio.run(begin())
