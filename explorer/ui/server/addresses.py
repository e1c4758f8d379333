"""Addresses that people write and Streamlit does not read: `?embed=1` becomes its own `?embed=true`."""

from urllib.parse import parse_qsl, urlencode

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class EmbedAddress:
    """ASGI middleware. Streamlit keeps the parameter `embed` to itself and knows only `true`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Redirect a page that is asked for with `embed=1`; everything else passes."""
        better = with_true(scope["query_string"].decode("latin-1")) if scope["type"] == "http" else None
        if better is None:
            await self.app(scope, receive, send)
        else:
            # Relative: what stands before us may know this server under another name.
            await RedirectResponse(f"?{better}")(scope, receive, send)


def with_true(query: str) -> str | None:
    """The query with `embed=true` for `embed=1`; None if it does not say that."""
    pairs = parse_qsl(query, keep_blank_values=True)
    if ("embed", "1") not in pairs:
        return None
    return urlencode([("embed", "true") if pair == ("embed", "1") else pair for pair in pairs])
