"""Streamlit's own files, answered ahead of Streamlit."""

import pytest
import streamlit as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from streamlit.web.server.starlette.starlette_static_routes import create_streamlit_static_handler

from explorer.ui.server import assets

BEHIND = Starlette(routes=[Route("/{path:path}", lambda request: PlainTextResponse("passed"))])
SCRIPT = next((assets.STATIC / "static" / "js").glob("index.*.js"))
NEAR, FAR = ("127.0.0.1", 1), ("192.0.2.1", 1)
FONT = next((assets.STATIC / "static" / "media").glob("*.woff2"))


@pytest.mark.parametrize("file", [SCRIPT, FONT], ids=["script", "font"])
def test_a_file_is_what_streamlit_would_send(file: assets.Path) -> None:
    path = f"/static/{file.parent.name}/{file.name}"
    theirs = TestClient(
        Starlette(routes=[Mount("/", app=create_streamlit_static_handler(str(assets.STATIC), None))])
    ).get(path)
    client = TestClient(assets.Assets(BEHIND), client=NEAR)
    ours = client.get(path)
    assert ours.content == theirs.content == file.read_bytes()
    for name in ("cache-control", "content-length"):
        assert ours.headers[name] == theirs.headers[name]
    # Browsers run scripts of either type.
    kinds = {"application/javascript", "text/javascript; charset=utf-8", "font/woff2"}
    assert {ours.headers["content-type"], theirs.headers["content-type"]} <= kinds
    head = client.head(path)
    assert (head.content, head.headers["content-length"]) == (b"", str(file.stat().st_size))


@pytest.mark.parametrize(
    ("client", "headers", "is_compressed"),
    [
        (FAR, {}, True),
        (NEAR, {"X-Forwarded-Host": "lab.example.org"}, True),
        (NEAR, {"Forwarded": "for=192.0.2.1"}, True),
        (NEAR, {}, False),
        (("::1", 1), {}, False),
        (FAR, {"Accept-Encoding": "br"}, False),
    ],
)
def test_a_browser_that_is_elsewhere_gets_scripts_compressed(
    client: tuple[str, int], headers: dict[str, str], is_compressed: bool
) -> None:
    path = f"/static/js/{SCRIPT.name}"
    asks = {"Accept-Encoding": "gzip, deflate, br"} | headers
    answer = TestClient(assets.Assets(BEHIND), client=client).get(path, headers=asks)
    assert answer.content == SCRIPT.read_bytes()
    assert answer.headers["vary"] == "accept-encoding"
    assert (answer.headers.get("content-encoding") == "gzip") is is_compressed
    assert (int(answer.headers["content-length"]) < SCRIPT.stat().st_size / 2) is is_compressed


def test_a_font_is_compressed_already() -> None:
    answer = TestClient(assets.Assets(BEHIND), client=FAR).get(f"/static/media/{FONT.name}")
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {}),
        ("/static/js/nothing.js", {}),
        ("/static/js/%2e%2e/%2e%2e/index.html", {}),
        (f"/other/static/js/{SCRIPT.name}", {}),
        (f"/static/js/{SCRIPT.name}", {"Range": "bytes=0-1"}),
        (f"/static/js/{SCRIPT.name}", {"If-None-Match": '"1"'}),
    ],
)
def test_everything_else_passes(path: str, headers: dict[str, str]) -> None:
    client = TestClient(assets.Assets(BEHIND))
    assert client.get(path, headers=headers).text == "passed"


def test_what_is_not_for_reading_passes() -> None:
    assert TestClient(assets.Assets(BEHIND)).post(f"/static/js/{SCRIPT.name}").status_code == 405


@pytest.mark.parametrize("base", ["moe", "/moe/", "/a/moe"])
def test_an_app_below_a_path_has_its_files_there(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(st, "get_option", {"server.baseUrlPath": base}.__getitem__)
    client = TestClient(assets.Assets(BEHIND))
    path = f"/static/js/{SCRIPT.name}"
    assert client.get(f"/{base.strip('/')}{path}").content == SCRIPT.read_bytes()
    assert client.get(path).text == "passed"
