"""What the server refuses before Streamlit sees it: unknown uploads, and requests past the proxy."""

import os

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from explorer.ui.server.uploads import UploadRules

PROXY_VARIABLE = "EXPLORER_PROXY_HEADER"
READING = ("GET", "HEAD", "OPTIONS")
HEALTH = "/_stcore/health"
POLICY_VIOLATION = 1008


class Gate:
    """ASGI middleware.

    Streamlit would store any number of files that are sent to its upload address, as long as the session
    lives: every request that is not for reading is refused, except the uploads that `UploadRules` lets pass.
    `proxy_header`: a header that a reverse
    proxy adds to each request; a page that led a browser here past the proxy cannot set it on a websocket,
    over which the app is used.
    """

    def __init__(
        self, app: ASGIApp, proxy_header: str | None = None, uploads: UploadRules | None = None
    ) -> None:
        self.app = app
        self.uploads = uploads or UploadRules()
        self.proxy_header = (proxy_header or os.environ.get(PROXY_VARIABLE, "")).strip().lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass; everything else gets one sentence, or a closed websocket."""
        sentence = self._why_not(scope)
        if not sentence and scope["type"] == "http" and scope["method"] == "PUT":
            self.uploads.begin()
            try:
                await self.app(scope, receive, send)
            finally:
                self.uploads.end()
        elif not sentence:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(POLICY_VIOLATION, sentence)(scope, receive, send)
        else:
            await PlainTextResponse(sentence, status_code=403)(scope, receive, send)

    def _why_not(self, scope: Scope) -> str:
        if scope["type"] not in ("http", "websocket"):
            return ""
        if scope["type"] == "http" and scope["method"] not in READING:
            refusal = self.uploads.refusal(scope["method"], scope["path"])
            if refusal:
                return refusal
        if self.proxy_header and not scope["path"].endswith(HEALTH):
            names = {name.decode("latin-1").lower() for name, _ in scope["headers"]}
            if self.proxy_header not in names:
                return "This app is reached through its proxy only."
        return ""
