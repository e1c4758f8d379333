"""Streamlit's own scripts, styles and fonts, answered before anything else looks at the request.

A first visit asks for about a hundred files. In Streamlit each of them passes sessions and compression and is
handed to threads at least five times. A browser on another machine gets scripts and styles compressed, which
is done once per file and process; on the same machine that would only cost time.
"""

import asyncio
import gzip
import ipaddress
import mimetypes
from contextlib import suppress
from functools import cache
from pathlib import Path

import streamlit as st
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

STATIC = Path(st.__file__).parent / "static"
TEXT = ("js", "css")
"""Folders of files that compression makes smaller."""
FOLDERS = (*TEXT, "media")
FOREVER = b"public, immutable, max-age=31536000"
"""Their names contain a digest of their content; Streamlit sends the same header."""
_ASKS_MORE = ("range", "if-none-match", "if-modified-since")
"""Headers of requests left to Streamlit: for part of a file, or only if it has changed."""


class Assets:
    """ASGI middleware: answers requests for Streamlit's files; everything else passes."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the whole file, if the request is for one."""
        file = _file(scope)
        if file is None:
            await self.app(scope, receive, send)
            return
        headers = [(b"content-type", _kind(file.name)), (b"cache-control", FOREVER)]
        is_text = file.parent.name in TEXT
        if is_text:
            headers.append((b"vary", b"accept-encoding"))
        if is_text and _takes_gzip(scope) and not is_near(scope):
            body = await asyncio.to_thread(_compressed, file)
            headers.append((b"content-encoding", b"gzip"))
        else:
            # Not in a thread: files are in the system's cache, and the largest takes a millisecond.
            body = file.read_bytes()
        headers.append((b"content-length", str(len(body)).encode()))
        # While the server ends it cancels answers that a browser does not read: no error for its log.
        with suppress(asyncio.CancelledError):
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body if scope["method"] == "GET" else b""})


def _file(scope: Scope) -> Path | None:
    """The file of Streamlit that a request is for; None for every other request."""
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
        return None
    file = _files(str(st.get_option("server.baseUrlPath"))).get(scope["path"])
    headers = Headers(scope=scope)
    return None if file is None or any(name in headers for name in _ASKS_MORE) else file


def is_near(scope: Scope) -> bool:
    """Whether the request comes from a browser on this machine, not through a proxy for one elsewhere."""
    if any(name == b"forwarded" or name.startswith(b"x-forwarded") for name, _ in scope["headers"]):
        return False
    try:
        return scope["client"] is not None and ipaddress.ip_address(scope["client"][0]).is_loopback
    except ValueError:
        return False


def _takes_gzip(scope: Scope) -> bool:
    taken = Headers(scope=scope).get("accept-encoding", "").split(",")
    return any(coding.partition(";")[0].strip() == "gzip" for coding in taken)


@cache
def _compressed(file: Path) -> bytes:
    return gzip.compress(file.read_bytes(), mtime=0)


@cache
def _files(base: str, static: Path = STATIC) -> dict[str, Path]:
    """Path of the address -> file. base: the path below which the app is served."""
    root = f"/{base.strip('/')}".rstrip("/")
    folders = [(name, static / "static" / name) for name in FOLDERS]
    return {
        f"{root}/static/{name}/{file.name}": file
        for name, folder in folders
        if folder.is_dir()
        for file in folder.iterdir()
        if file.is_file()
    }


@cache
def _kind(name: str) -> bytes:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8".encode() if kind.startswith("text/") else kind.encode()
