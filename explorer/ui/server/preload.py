"""Let the browser fetch the scripts of charts and controls while the server still prepares the first ones.

Streamlit's page names the scripts that every app needs; those of an element are requested only when the first
such element has arrived, and then take as long as everything before. So the page names them too, after all
others, and imports them. Vega is then told to draw what is in the window first (`near_first.js`) and no rows
that would not be seen (`replaced_rows.js`).
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from explorer.ui.server import backend, first_visit
from explorer.ui.server.assets import STATIC

ENTRIES = ("ArrowVegaLiteChart.", "embed.", "loadVegaEmbed.", "BidiComponent.", "Html.", "PageLink.")
"""How the names of the scripts begin: those of charts, and of what stands beside the first one."""
EVERYWHERE = ("ButtonGroup.", "DownloadButton.")
"""Those of every page but the Overview, whose first picture has neither."""
FORMULAS, CODE = "rehype-katex.", "StreamlitSyntaxHighlighter."
OF_PAGE = {
    "compare": ("Multiselect.", "Selectbox.", "DataFrame."),
    "replay": ("Selectbox.", "NumberInput.", FORMULAS),
    "microscope": ("Multiselect.", "Selectbox.", "NumberInput.", FORMULAS),
    "serving": ("Selectbox.", "Slider."),
    "playground": ("Selectbox.", "NumberInput.", "Slider.", FORMULAS),
    "theory": ("Selectbox.", "NumberInput.", "Slider.", FORMULAS),
    "train": ("Multiselect.", "Selectbox.", "NumberInput.", "TextInput.", "Checkbox.", "Button.", CODE),
    "import": ("FileUploader.",),
    "evidence": ("Selectbox.", "Table.", "DataFrame.", CODE),
    "glossary": ("Selectbox.", "Slider.", "TextInput.", "Table.", FORMULAS),
}
"""Path of a page -> the scripts of what else it shows first."""
VEGA = "embed."
"""The script whose module has Vega."""
_COMPONENTS = Path(__file__).parents[1] / "components"
VIEW_SCRIPTS = {"drawNearFirst": "near_first.js", "holdReplacedRows": "replaced_rows.js"}
"""Function that changes Vega's View class -> the script that defines it, in the order of the calls."""
_AS_IT_IS = {b"accept-encoding", b"if-none-match", b"if-modified-since"}
"""What a request says that would bring the page compressed, or as an earlier start of the server wrote it:
without these scripts, or without the report of a first visit (`server.first_visit`)."""
_IMPORT = re.compile(r'(?:from|import)\s*"\./(?P<name>[^"]+\.js)"')
_END = b"</head>"


class Preload:
    """ASGI middleware: every page of the app names further scripts."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the links to answers that are HTML; everything else passes."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["query_string"] == first_visit.DRAWN.encode():
            first_visit.current().report_drawn()
        if "text/html" in Headers(scope=scope).get("accept", ""):
            named = [(name, value) for name, value in scope["headers"] if name not in _AS_IT_IS]
            scope = {**scope, "headers": named}
        await self.app(scope, receive, _Page(scope, send).send)


class _Page:
    """One answer, whose head is held back until its length is known if it is HTML."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send = scope, send
        self._head: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_page(message) and links(""):
            self._head = message
        elif self._head is None or message["type"] != "http.response.body":
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._finish(self._head, message)

    async def _finish(self, head: Message, last: Message) -> None:
        before, end, after = self._body.partition(_END)
        page = self._scope["path"].rpartition("/")[2]
        added = backend.script() + links(page) + self._script()
        body = before + added + end + after if end else self._body
        # An answer without a body, to HEAD or of a page that has not changed, keeps its length.
        if body:
            MutableHeaders(scope=head)["content-length"] = str(len(body))
        await self._send(head)
        await self._send({**last, "body": body})

    def _script(self) -> bytes:
        return first_visit.scripts_for(self._scope["path"], self._scope["query_string"].decode("latin-1"))


def _is_page(message: Message) -> bool:
    headers = MutableHeaders(scope=message)
    kind, encoding = headers.get("content-type", ""), headers.get("content-encoding", "")
    return kind.startswith("text/html") and not encoding


@cache
def _links(entries: tuple[str, ...], static: Path) -> bytes:
    # Relative like those of the page itself, which may lie below the path of a proxy.
    tag = '<link rel="modulepreload" crossorigin href="./static/js/{}">'
    tags = "".join(tag.format(name) for name in scripts(static, entries))
    # It runs after the page's own script: what it imports is at hand when an element asks for it.
    imports = "".join(_import(name) for name in _files(static, entries))
    script = "".join(map(_text, VIEW_SCRIPTS.values())) + imports
    return f'{tags}<script type="module">{script}</script>'.encode() if tags else b""


def _text(script: str) -> str:
    return (_COMPONENTS / script).read_text(encoding="utf-8")


def links(page: str, static: Path = STATIC) -> bytes:
    """The tags to be added to a page; empty where Streamlit has no such scripts. page: its path."""
    return _links(entries_of(page), static)


def entries_of(page: str) -> tuple[str, ...]:
    """How the names of a page's further scripts begin."""
    return ENTRIES + (EVERYWHERE + OF_PAGE.get(page, ()) if page else ())


def _import(name: str) -> str:
    """Read a script in; Vega's class of views is known by its name, wherever the module has it."""
    find = "Object.values(module).find((part) => part?.vega?.View)?.vega.View"
    change = "".join(f"{function}(view);" for function in VIEW_SCRIPTS)
    then = f".then((module) => {{const view = {find};if (view) {{{change}}}}})"
    return f'import("./static/js/{name}"){then if name.startswith(VEGA) else ""}.catch(() => {{}});'


def scripts(static: Path, entries: Sequence[str]) -> list[str]:
    """Names of the scripts of `entries` and of all that they import, without those that the page names."""
    folder, page = static / "static" / "js", static / "index.html"
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    named = set(re.findall(r"/js/([\w.-]+\.js)", text))
    waiting = _files(static, entries)
    names: list[str] = []
    while waiting:
        name = waiting.pop(0)
        if name not in named and name not in names and (folder / name).is_file():
            names.append(name)
            waiting.extend(_imports(folder / name))
    return names


def _files(static: Path, entries: Sequence[str]) -> list[str]:
    folder = static / "static" / "js"
    return [path.name for entry in entries for path in sorted(folder.glob(f"{entry}*.js"))]


def _imports(script: Path) -> Iterator[str]:
    for match in _IMPORT.finditer(script.read_text(encoding="utf-8")):
        yield match["name"]
