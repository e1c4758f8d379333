"""Sends the kept first picture of the Overview, and keeps what the page begins with for the next start."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby

import streamlit as st
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_run_context import ScriptRunContext

from explorer.config.server import Settings
from explorer.ui.server import first_picture, first_visit

LAST = "vega_lite_chart"
"""The element that ends the picture: what stands below may differ from visitor to visitor, and can wait."""


def send(path: str) -> None:
    """Send the picture and wait until it is drawn, if this is the plain Overview of a fresh server."""
    visit, context = first_visit.current(), get_script_run_ctx()
    if not _is_plain(path):
        visit.report_drawn()
    if not visit.is_due or not _is_plain(path) or context is None:
        return
    for page, messages in groupby(visit.messages, lambda message: message.metadata.active_script_hash):
        with context.run_with_active_hash(page):
            for message in messages:
                copy = ForwardMsg()
                copy.CopyFrom(message)
                context.enqueue(copy)
    visit.wait_until_drawn()


@contextmanager
def kept(path: str) -> Iterator[None]:
    """Keep what the page in this block begins with, unless the picture of the present state is kept."""
    context, settings = get_script_run_ctx(), Settings.from_environment()
    if not _is_plain(path) or context is None:
        yield
        return
    before = first_picture.state_of(settings)
    if first_picture.is_kept(settings, before):
        yield
        return
    with _overheard(context) as messages:
        yield
    if _is_whole(messages) and _is_settled() and first_picture.state_of(settings) == before:
        first_picture.write(settings, before, messages)


def _is_plain(path: str) -> bool:
    """Whether the address asks for the Overview and nothing else."""
    return not path and not st.query_params and not st.context.is_embedded


@contextmanager
def _overheard(context: ScriptRunContext) -> Iterator[list[ForwardMsg]]:
    """The elements that a script run sends in this block, until the last one of the picture."""
    messages: list[ForwardMsg] = []
    pass_on = context.enqueue

    def listen(message: ForwardMsg) -> None:
        pass_on(message)
        if message.WhichOneof("type") == "delta" and not _has_ended(messages):
            messages.append(message)

    context.enqueue = listen  # type: ignore[method-assign, assignment]
    try:
        yield messages
    finally:
        del context.enqueue


def _has_ended(messages: list[ForwardMsg]) -> bool:
    return bool(messages) and _kind(messages[-1]) == LAST


def _kind(message: ForwardMsg) -> str | None:
    return message.delta.new_element.WhichOneof("type")


def _is_whole(messages: list[ForwardMsg]) -> bool:
    """Whether the picture has its end, and no notice, which the next start need not have."""
    return _has_ended(messages) and all(_kind(message) != "alert" for message in messages)


def _is_settled() -> bool:
    """Whether all runs have been read and none grows."""
    from explorer.ui.shared import cached, shell

    return not shell.is_reading() and not any(run.is_running for run in cached.list_runs())
