"""The first picture of the plain Overview, kept beside the index for the next start of the server.

Altair, polars and DuckDB take both processors for more than a second, and a browser that loads the page needs
both. So a fresh server sends what the page began with the last time, lets the browser draw it, and loads
its libraries then. The page is drawn as usual afterwards, over what stands there.

What is kept is used only while everything that it was made from is the same: run folders, the app's own
files, its settings, Python and Streamlit.
"""

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import streamlit as st
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg, ForwardMsgList

from explorer.config.places import ROOT, NoHomeError, default_path, signature, table_signature
from explorer.config.server import Settings
from explorer.files import write_whole
from explorer.ui.server.places import PAGES

SOURCES = (ROOT / "app.py", ROOT / "explorer", PAGES, ROOT / "lessons", ROOT / ".streamlit")
"""Files of the app itself, or folders of them."""
KINDS = (".py", ".js", ".css", ".html", ".toml")
DIGEST_BYTES = 32


def path_of(settings: Settings) -> Path | None:
    """Where the picture of these settings lies; None where there is no index yet, or no place for one."""
    with suppress(NoHomeError):
        index = settings.index or default_path()
        return index.with_suffix(".first_picture") if index.exists() else None
    return None


def state_of(settings: Settings) -> bytes:
    """A digest of everything that the picture is made from."""
    runs = [(str(folder), _runs(folder)) for folder in settings.runs_dirs]
    base = str(st.get_option("server.baseUrlPath"))
    return _digest(repr((_program(), settings, base, runs)).encode())


def read(settings: Settings) -> tuple[ForwardMsg, ...]:
    """The messages of the picture; none where nothing is kept, or something of another state."""
    content = _content(settings)
    head, rest = content[: 2 * DIGEST_BYTES], content[2 * DIGEST_BYTES :]
    if not rest or head != state_of(settings) + _digest(rest):
        return ()
    return tuple(ForwardMsgList.FromString(rest).messages)


def is_kept(settings: Settings, state: bytes) -> bool:
    """Whether the picture that is kept is that of this state."""
    return _content(settings)[:DIGEST_BYTES] == state


def write(settings: Settings, state: bytes, messages: Sequence[ForwardMsg]) -> None:
    """Keep a picture. Where it cannot be written, the next start is slower."""
    path = path_of(settings)
    rest = ForwardMsgList(messages=messages).SerializeToString()
    with suppress(OSError):
        if path:
            write_whole(path, state + _digest(rest) + rest)


def _content(settings: Settings) -> bytes:
    """What is kept; empty for nothing."""
    path = path_of(settings)
    try:
        return path.read_bytes() if path else b""
    except OSError:
        return b""


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _runs(folder: Path) -> list[tuple[str, tuple[int, ...]]]:
    """Name and signature of every run folder."""
    try:
        return sorted((path.name, signature(path) + table_signature(path)) for path in folder.iterdir())
    except OSError:
        return []


@cache
def _program() -> tuple[object, ...]:
    """What the app's files were when this process began to use them."""
    files = [file for source in SOURCES for file in _files(source)]
    return (sys.version, st.__version__, [(str(file), signature(file, ("",))) for file in sorted(files)])


def _files(source: Path) -> Iterator[Path]:
    if source.is_file():
        yield source
    for folder, _, names in os.walk(source):
        yield from (Path(folder, name) for name in names if name.endswith(KINDS))
