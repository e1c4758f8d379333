"""The scripts that a page names beside Streamlit's own, so that the browser fetches them at once."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from streamlit.web.server.starlette.starlette_routes import create_host_config_routes

from explorer.ui.server import backend, preload
from explorer.ui.server.assets import STATIC

PAGE = "<html><head><title>x</title></head><body>é</body></html>"


def client(answer: Response) -> TestClient:
    return TestClient(preload.Preload(Starlette(routes=[Route("/", lambda request: answer)])))


def test_a_page_names_the_scripts_of_charts_after_its_own() -> None:
    answer = client(HTMLResponse(PAGE)).get("/")
    head, _, rest = answer.text.partition("</head>")
    assert rest == "<body>é</body></html>"
    assert head.startswith("<html><head><title>x</title><script>")
    assert int(answer.headers["content-length"]) == len(answer.content)
    names = re.findall(r'href="\./static/js/([^"]+)"', head)
    assert all((STATIC / "static" / "js" / name).is_file() for name in names)
    assert len(set(names)) == len(names)


async def _host_config() -> dict[str, object]:
    (route,) = create_host_config_routes(None)
    request = Request({"type": "http", "method": "GET", "headers": []})
    answer: dict[str, object] = json.loads((await route.endpoint(request)).body)  # type: ignore[attr-defined]
    return answer


def test_a_page_is_told_of_hosts_what_the_server_would_say() -> None:
    match = re.search(r"HOST_CONFIG: ({.*}),", backend.script().decode())
    assert match is not None
    config = json.loads(match[1])
    theirs = asyncio.run(_host_config())
    assert config == {name: theirs[name] for name in config}
    scripts = (STATIC / "static" / "js").glob("index.*.js")
    text = "".join(script.read_text(encoding="utf-8") for script in scripts)
    for name in ("__streamlit", "BACKEND_BASE_URL", *config):
        assert name in text, f"Streamlit's page no longer knows {name}"


def test_an_address_that_a_host_has_set_is_kept() -> None:
    assert b"window.__streamlit ??= {" in backend.script()


@pytest.mark.parametrize("page", ["", *preload.OF_PAGE, "lessons"])
def test_a_page_names_the_scripts_of_what_it_shows_first(page: str) -> None:
    head = preload.links(page).decode()
    names = re.findall(r'href="\./static/js/([^"]+)"', head)
    entries = preload.ENTRIES + (preload.EVERYWHERE + preload.OF_PAGE.get(page, ()) if page else ())
    for entry in entries:
        assert any(name.startswith(entry) for name in names), f"Streamlit has renamed {entry}"
        assert f'import("./static/js/{entry}' in head


def test_a_page_below_a_path_names_its_own_scripts() -> None:
    pages = Starlette(routes=[Route("/moe/theory", lambda request: HTMLResponse(PAGE))])
    answer = TestClient(preload.Preload(pages)).get("/moe/theory")
    assert preload.links("theory").decode() in answer.text
    assert preload.links("theory") != preload.links("")


def test_a_browser_that_takes_compressed_pages_and_knows_an_old_one_is_told_the_names() -> None:
    pressed = GZipMiddleware(Starlette(routes=[Route("/", lambda request: HTMLResponse(PAGE + 1000 * " "))]))
    asks = {"Accept": "text/html,*/*;q=0.8", "Accept-Encoding": "gzip, br"}
    answer = TestClient(preload.Preload(pressed)).get("/", headers=asks)
    assert 'rel="modulepreload"' in answer.text

    def unchanged(request: Request) -> Response:
        return Response(status_code=304) if "if-none-match" in request.headers else HTMLResponse(PAGE)

    known = Starlette(routes=[Route("/", unchanged)])
    answer = TestClient(preload.Preload(known)).get("/", headers={**asks, "If-None-Match": '"1"'})
    assert 'rel="modulepreload"' in answer.text


def test_what_is_no_page_stays_compressed() -> None:
    pressed = GZipMiddleware(Starlette(routes=[Route("/", lambda request: PlainTextResponse(1000 * "x"))]))
    answer = TestClient(preload.Preload(pressed)).get("/", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("answer", [PlainTextResponse(PAGE), HTMLResponse("no head"), HTMLResponse("")])
def test_other_answers_pass_as_they_are(answer: Response) -> None:
    assert client(answer).get("/").content == answer.body


def test_scripts_that_the_page_names_itself_are_left_out_and_imports_are_followed(tmp_path: Path) -> None:
    folder = tmp_path / "static" / "js"
    folder.mkdir(parents=True)
    (tmp_path / "index.html").write_text('<script src="./static/js/index.1.js">')
    (folder / "embed.1.js").write_text('import{a}from"./shared.1.js";import"./index.1.js";')
    (folder / "shared.1.js").write_text('import{b}from"./embed.1.js";import("./later.1.js")')
    for name in ("index.1.js", "later.1.js", "other.1.js"):
        (folder / name).write_text("")
    assert preload.scripts(tmp_path, ["embed."]) == ["embed.1.js", "shared.1.js"]
    assert preload.scripts(tmp_path / "nothing", ["embed."]) == []
