"""What a script run sends waits for the rest of it, in its order; nothing is lost."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.types import Message, Receive, Scope, Send
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from explorer.ui.server.bursts import PART_BYTES, Burst, Bursts

LONG_S, SOON_S = 3600.0, 0.0
Script = Callable[[Send], Awaitable[None]]


def status(running: bool) -> Message:
    message = ForwardMsg()
    message.session_status_changed.script_is_running = running
    return {"type": "websocket.send", "bytes": message.SerializeToString()}


def element(number: int) -> Message:
    message = ForwardMsg()
    message.delta.new_element.markdown.body = f"element {number} " + "x" * 100
    return {"type": "websocket.send", "bytes": message.SerializeToString()}


def finished(how: ForwardMsg.ScriptFinishedStatus.ValueType) -> Message:
    return {"type": "websocket.send", "bytes": ForwardMsg(script_finished=how).SerializeToString()}


RUNS, ENDED = status(True), status(False)


def play(script: Script, sent: list[Message], *, hold_s: float, kind: str = "websocket") -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await script(send)

    async def server(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing is received")

    asyncio.run(Bursts(app, hold_s)({"type": kind}, receive, server))


def test_the_messages_of_a_run_wait_for_its_end_and_keep_their_order() -> None:
    sent: list[Message] = []
    first, second = [RUNS, element(0), ENDED], [RUNS, element(1), element(2), ENDED]

    async def script(send: Send) -> None:
        for message in first:
            await send(message)
        for message in second[:-1]:
            await send(message)
        assert sent == first, "the second run waits"
        await send(second[-1])
        assert sent == first + second

    play(script, sent, hold_s=LONG_S)


def test_a_run_that_another_one_follows_at_once_is_sent_with_it() -> None:
    sent: list[Message] = []
    early = [RUNS, finished(ForwardMsg.FINISHED_EARLY_FOR_RERUN), ENDED]
    last = [RUNS, element(1), finished(ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY), ENDED]

    async def script(send: Send) -> None:
        await send(ENDED)
        for message in [*early, *last[:-1]]:
            await send(message)
        assert sent == [ENDED]
        await send(last[-1])
        assert sent == [ENDED, *early, *last]

    play(script, sent, hold_s=LONG_S)


def test_the_first_run_of_a_connection_is_not_held_back() -> None:
    sent: list[Message] = []

    async def script(send: Send) -> None:
        for count, message in enumerate([RUNS, element(0)], start=1):
            await send(message)
            assert len(sent) == count

    play(script, sent, hold_s=LONG_S)


def test_a_run_that_takes_long_is_shown_on_the_way() -> None:
    sent: list[Message] = []

    async def script(send: Send) -> None:
        await send(ENDED)
        for message in (RUNS, element(0), element(1)):
            await send(message)
        assert sent == [ENDED]
        while len(sent) < 4:
            await asyncio.sleep(0)
        await send(element(2))
        await send(ENDED)
        assert sent == [ENDED, RUNS, element(0), element(1), element(2), ENDED]

    play(script, sent, hold_s=SOON_S)


def test_what_is_no_message_to_the_page_comes_after_what_waits() -> None:
    sent: list[Message] = []
    close: Message = {"type": "websocket.close", "code": 1000}

    async def script(send: Send) -> None:
        for message in (ENDED, RUNS, close):
            await send(message)
        assert sent == [ENDED, RUNS, close]

    play(script, sent, hold_s=LONG_S)


def test_requests_are_left_alone() -> None:
    sent: list[Message] = []
    body: Message = {"type": "http.response.body", "body": b"x", "more_body": True}

    async def script(send: Send) -> None:
        await send(body)
        assert sent == [body]

    play(script, sent, hold_s=LONG_S, kind="http")


def test_a_lost_connection_is_told_with_the_next_message() -> None:
    lost = OSError("the browser has gone")

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(ENDED)
        await send(element(0))
        while True:
            await asyncio.sleep(0)
            await send(element(1))

    async def server(message: Message) -> None:
        if message != ENDED:
            raise lost

    async def receive() -> Message:
        raise AssertionError("nothing is received")

    with pytest.raises(OSError, match="has gone"):
        asyncio.run(Bursts(app, SOON_S)({"type": "websocket"}, receive, server))


def test_the_end_of_a_run_of_many_fragments_is_recognised() -> None:
    """Its message names every fragment, so it is longer than others of its kind."""
    sent: list[Message] = []
    end = ForwardMsg(script_finished=ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY)
    end.metadata.run.fragment_ids.extend(f"{number:032x}" for number in range(12))
    early = [RUNS, finished(ForwardMsg.FINISHED_EARLY_FOR_RERUN), ENDED]
    last = [RUNS, element(1), {"type": "websocket.send", "bytes": end.SerializeToString()}, ENDED]

    async def script(send: Send) -> None:
        for message in [ENDED, *early, *last]:
            await send(message)
        assert sent == [ENDED, *early, *last]

    play(script, sent, hold_s=LONG_S)


def of_fragments(*names: str) -> Message:
    """A run of these fragments begins."""
    message = ForwardMsg()
    message.new_session.name = "page"
    message.metadata.run.fragment_ids.extend(names)
    return {"type": "websocket.send", "bytes": message.SerializeToString()}


def drawn(fragment: str, size: int, digest: str = "") -> Message:
    """digest: of an element that the page may be told to take from what it has had."""
    message = ForwardMsg(hash=digest)
    message.delta.new_element.markdown.body = "x" * size
    message.delta.fragment_id = fragment
    message.metadata.delta_path.extend([0, 3])
    message.metadata.cacheable = bool(digest)
    return {"type": "websocket.send", "bytes": message.SerializeToString()}


def known(digest: str) -> Message:
    message = ForwardMsg(ref_hash=digest)
    message.metadata.delta_path.extend([0, 3])
    return {"type": "websocket.send", "bytes": message.SerializeToString()}


@pytest.mark.parametrize(
    ("fragments", "size", "is_ahead"),
    [
        (["text", "charts"], PART_BYTES, True),
        (["text", "charts"], 100, False),
        (["text"], PART_BYTES, False),
    ],
)
def test_a_large_first_fragment_is_sent_ahead_of_the_others(
    fragments: list[str], size: int, is_ahead: bool
) -> None:
    """Its elements, and with the others the whole run: the page keeps what the run has sent."""
    sent: list[Message] = []
    begins, first = [RUNS, of_fragments(*fragments)], [drawn("text", size), known("b"), drawn("inside", 1)]
    others = [drawn("charts", PART_BYTES), drawn("charts", 1), drawn("text", 1), drawn("charts", 1)]

    async def script(send: Send) -> None:
        for message in (RUNS, ENDED):
            await send(message)
        sent.clear()
        for message in [*begins, *first]:
            await send(message)
        assert sent == []
        for message in others:
            await send(message)
        assert sent == (first if is_ahead else [])
        await send(ENDED)

    play(script, sent, hold_s=LONG_S)
    assert sent == [*(first if is_ahead else []), *begins, *first, *others, ENDED]


def test_what_was_sent_ahead_is_named_by_its_digest_with_the_rest() -> None:
    sent: list[Message] = []
    first = [drawn("text", PART_BYTES, digest="a"), drawn("text", 1)]
    rest = [drawn("charts", PART_BYTES, digest="c"), ENDED]

    async def script(send: Send) -> None:
        await send(ENDED)
        for message in [of_fragments("text", "charts"), *first, *rest]:
            await send(message)

    play(script, sent, hold_s=LONG_S)
    assert sent == [ENDED, *first, of_fragments("text", "charts"), known("a"), first[1], *rest]


def test_what_follows_a_first_fragment_has_the_same_time_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a run of which half the time is over would be told in two halves, and rendered twice."""
    sent: list[Message] = []
    first, charts = drawn("text", PART_BYTES), drawn("charts", 1)
    waits: list[asyncio.Event] = []

    async def later(burst: Burst) -> None:
        waits.append(asyncio.Event())
        await waits[-1].wait()
        await burst._flush()

    async def script(send: Send) -> None:
        await send(ENDED)
        for message in (of_fragments("text", "charts"), first):
            await send(message)
            await asyncio.sleep(0)
        await send(charts)
        await asyncio.sleep(0)
        for wait, count in zip(waits, (2, 5), strict=True):
            wait.set()
            await asyncio.sleep(0)
            assert len(sent) == count

    monkeypatch.setattr(Burst, "_later", later)
    play(script, sent, hold_s=LONG_S)
    assert sent == [ENDED, first, of_fragments("text", "charts"), first, charts]
