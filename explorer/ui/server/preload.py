"""Let the browser fetch the scripts of charts while the server still prepares the first one.

Streamlit's page names the scripts that every app needs; those of a chart are asked for only when the first
chart has arrived, and then take as long as everything before. A `Link` header names them from the start.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import streamlit
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATIC = Path(streamlit.__file__).parent / "static"
ENTRIES = ("ArrowVegaLiteChart.", "embed.", "loadVegaEmbed.", "BidiComponent.", "Html.", "PageLink.")
"""How the names of the scripts begin: those of charts, and of what stands beside the first one."""
_IMPORT = re.compile(r'(?:from|import)\s*"\./(?P<name>[^"]+\.js)"')


class Preload:
    """ASGI middleware: every page of the app names further scripts."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the header to answers that are HTML; everything else passes."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_link(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html") and link():
                    headers.append("link", link())
            await send(message)

        await self.app(scope, receive, send_with_link)


@cache
def link(static: Path = STATIC) -> str:
    """The header's value; empty where Streamlit has no such scripts."""
    # Relative like those of the page itself, which may lie below the path of a proxy.
    return ", ".join(f'<./static/js/{name}>; rel="modulepreload"; fetchpriority="low"; crossorigin' for name in scripts(static))


def scripts(static: Path) -> list[str]:
    """Names of the scripts of `ENTRIES` and of all that they import, without those that the page names."""
    folder = static / "static" / "js"
    page = static / "index.html"
    named = set(re.findall(r"/js/([\w.-]+\.js)", page.read_text(encoding="utf-8"))) if page.is_file() else set()
    waiting = [path.name for entry in ENTRIES for path in sorted(folder.glob(f"{entry}*.js"))]
    names: list[str] = []
    while waiting:
        name = waiting.pop(0)
        if name not in named and name not in names and (folder / name).is_file():
            names.append(name)
            waiting.extend(_imports(folder / name))
    return names


def _imports(script: Path) -> Iterator[str]:
    for match in _IMPORT.finditer(script.read_text(encoding="utf-8")):
        yield match["name"]
