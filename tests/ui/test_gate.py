"""Who reaches the app: names, proxies and addresses that are allowed, and what every server refuses."""

import argparse
import re
import socket
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from sentences import pattern
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from explorer.cli.app import choose_port
from explorer.cli.hosts import Listening, add_options, listening
from explorer.config.limits import Limits
from explorer.errors import ConfigError
from explorer.ui.server.gate import Gate
from explorer.ui.server.uploads import FULL, MAX_HELD, NO_UPLOADS, UNKNOWN, UploadRules

ROOT = Path(__file__).parents[2]
UPLOAD = "/_stcore/upload_file/session/file"
KNOWN = UploadRules(is_session=lambda session: session == "session", held=lambda: 0, read_only=lambda: False)
METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "DELETE", "PATCH"]


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("in")
    await websocket.close()


def client(proxy_header: str | None = None, uploads: UploadRules = KNOWN) -> TestClient:
    """A server behind the gate that answers everything, with one session that is connected."""
    everything = Route("/{path:path}", lambda request: PlainTextResponse("in"), methods=METHODS)
    inner = Starlette(routes=[WebSocketRoute("/_stcore/stream", echo), everything])
    return TestClient(Gate(inner, proxy_header, uploads))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "path", ["/import", "/_stcore/upload_file/session", f"{UPLOAD}/more", f"/x{UPLOAD}/"]
)
def test_only_requests_for_reading_pass(method: str, path: str) -> None:
    answer = client().request(method, path, content=b"x" * 1000 if method == "PUT" else None)
    is_reading = method in ("GET", "HEAD", "OPTIONS")
    assert answer.status_code == (200 if is_reading else 403)
    if not is_reading:
        assert answer.text == NO_UPLOADS


@pytest.mark.parametrize("base", ["", "/moe", "/a/b"])
@pytest.mark.parametrize("method", METHODS)
def test_an_upload_of_a_connected_session_passes(method: str, base: str) -> None:
    answer = client().request(method, base + UPLOAD, content=b"x" if method == "PUT" else None)
    assert answer.status_code == (200 if method not in ("POST", "PATCH") else 403)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_an_upload_of_nobody_is_refused(method: str) -> None:
    answer = client().request(method, UPLOAD.replace("session", "other"))
    assert (answer.status_code, answer.text) == (403, UNKNOWN)
    without_runtime = client(uploads=UploadRules(read_only=lambda: False))
    assert without_runtime.request(method, UPLOAD).status_code == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_server_that_only_shows_takes_no_upload(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORER_READ_ONLY", "1")
    rules = UploadRules(is_session=lambda session: True, held=lambda: 0)
    answer = client(uploads=rules).request(method, UPLOAD)
    assert (answer.status_code, answer.text) == (403, NO_UPLOADS)


def test_uploads_are_bounded_in_number() -> None:
    """Those that arrive count as those that lie in memory, and a place is free again after each answer."""
    rules = UploadRules(is_session=lambda session: True, held=lambda: MAX_HELD - 1, read_only=lambda: False)
    guarded = client(uploads=rules)
    assert [guarded.put(UPLOAD).status_code for _ in range(3)] == [200, 200, 200]
    rules.begin()
    assert (guarded.put(UPLOAD).status_code, guarded.put(UPLOAD).text) == (403, FULL)
    assert guarded.delete(UPLOAD).status_code == 200, "deleting makes room"


def test_a_request_past_the_proxy_is_refused() -> None:
    guarded = client("X-Forwarded-Host")
    assert guarded.get("/").status_code == 403
    assert guarded.get("/", headers={"x-forwarded-host": "lab.example"}).text == "in"
    assert guarded.get("/_stcore/health").text == "in", "the proxy itself asks whether the app lives"


def test_so_is_a_websocket_past_the_proxy() -> None:
    guarded = client("X-Forwarded-Host")
    with pytest.raises(WebSocketDisconnect), guarded.websocket_connect("/_stcore/stream"):
        pass
    with guarded.websocket_connect("/_stcore/stream", headers={"X-Forwarded-Host": "lab"}) as allowed:
        assert allowed.receive_text() == "in"


def server_settings() -> dict[str, object]:
    """The server's section of the project's Streamlit settings."""
    file = ROOT / ".streamlit" / "config.toml"
    return dict(tomllib.loads(file.read_text(encoding="utf-8"))["server"])


@pytest.mark.parametrize(
    ("host", "origin", "is_allowed"),
    [
        ("127.0.0.1:8501", "http://127.0.0.1:8501", True),
        ("localhost:8501", "http://localhost:8501", True),
        ("[::1]:8501", "http://[::1]:8501", True),
        ("127.0.0.1:8501", None, True),
        ("evil.example", "http://evil.example", False),
        ("evil.example:8501", None, False),
        ("localhost.evil.example", "http://localhost.evil.example", False),
        (None, "http://127.0.0.1:8501", False),
    ],
)
def test_a_name_that_another_site_points_here_is_refused(
    monkeypatch: pytest.MonkeyPatch, host: str | None, origin: str | None, is_allowed: bool
) -> None:
    """With the settings that ship; the decision is Streamlit's own."""
    from streamlit import config
    from streamlit.web.server.starlette import starlette_websocket

    usual, settings = config.get_option, server_settings()
    monkeypatch.setattr(
        config, "get_option", lambda name: settings.get(name.removeprefix("server."), usual(name))
    )
    assert starlette_websocket._is_origin_allowed(origin, host) is is_allowed


def test_the_size_of_an_upload_is_that_of_the_limits() -> None:
    assert server_settings()["maxUploadSize"] == Limits().upload_mb


def test_the_app_stands_behind_the_gate() -> None:
    """Of the server that is really started, and the first to see a request."""
    source = (ROOT / "app.py").read_text(encoding="utf-8")
    first = re.search(r"middleware=.*?\b(Gate|Assets|EmbedAddress|Bursts|Preload)\b", source)
    assert first is not None
    assert first[1] == "Gate"


def listen(*arguments: str) -> Listening:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return listening(parser.parse_args(arguments))


def allowed(where: Listening) -> list[str]:
    return [value for flag, value in pairwise(where.flags) if flag == "--server.allowedHosts"]


def test_usually_only_this_machine_is_listened_to() -> None:
    where = listen()
    assert where.flags[:2] == ("--server.address", "127.0.0.1")
    assert allowed(where) == ["localhost", "127.0.0.1", "::1"]
    assert where.url(8501) == "http://127.0.0.1:8501"
    assert not where.environment


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.1.7", "::", "example.org"])
def test_listening_elsewhere_needs_a_name_or_a_proxy(address: str) -> None:
    with pytest.raises(ConfigError) as refused:
        listen("--address", address)
    assert (refused.value.field, refused.value.value) == ("--address", address)
    assert "--allow-host NAME" in refused.value.remedy
    assert "--behind-proxy HEADER" in refused.value.remedy


def test_a_named_host_is_allowed_beside_the_loopback() -> None:
    where = listen("--address", "0.0.0.0", "--allow-host", "*.lab.example", "--allow-host", "lab.example")
    assert allowed(where) == ["localhost", "127.0.0.1", "::1", "*.lab.example", "lab.example"]
    assert where.url(80) == "http://lab.example:80"


@pytest.mark.parametrize(
    ("given", "name", "url"),
    [
        ("2001:DB8:0::7", "2001:db8::7", "http://[2001:db8::7]:80"),
        ("192.0.2.7", "192.0.2.7", "http://192.0.2.7:80"),
    ],
)
def test_an_address_may_be_the_name_under_which_browsers_come(
    given: str, name: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamlit import config
    from streamlit.web.server.starlette import starlette_websocket

    where = listen("--address", "0.0.0.0", "--allow-host", given)
    assert allowed(where)[-1] == name
    assert where.url(80) == url
    settings = {"server.allowedHosts": allowed(where)}
    usual = config.get_option
    monkeypatch.setattr(config, "get_option", lambda option: settings.get(option, usual(option)))
    assert starlette_websocket._is_origin_allowed(url, url.removeprefix("http://"))


def test_behind_a_proxy_its_header_takes_the_place_of_the_names() -> None:
    where = listen("--address", "0.0.0.0", "--behind-proxy", "X-Forwarded-Host")
    assert allowed(where) == ["*"]
    assert where.environment == {"EXPLORER_PROXY_HEADER": "X-Forwarded-Host"}


@pytest.mark.parametrize("path", ["/..a", "/.well-known", "/a...", "/a/.b"])
def test_a_part_of_the_path_may_begin_or_end_with_dots(path: str) -> None:
    assert listen("--base-path", path).base_path == path


@pytest.mark.parametrize("given", [("--base-path", "/moe/"), ("--base-path", "moe")])
def test_the_address_that_is_printed_has_the_path(given: tuple[str, str]) -> None:
    assert listen(*given).url(8501) == "http://127.0.0.1:8501/moe"


def test_the_path_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMLIT_SERVER_BASE_URL_PATH", "a/b")
    assert listen().url(8501) == "http://127.0.0.1:8501/a/b"
    assert ("--server.baseUrlPath", "a/b") in pairwise(listen().flags)


def listening_at(address: str) -> socket.socket:
    taken = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        taken.bind((address, 0))
    except OSError:
        taken.close()
        pytest.skip(f"{address} is no address of this machine")
    taken.listen()
    return taken


@pytest.mark.parametrize(("address", "other"), [("127.0.0.2", "127.0.0.1"), ("::1", "127.0.0.1")])
def test_a_port_is_looked_for_at_the_address_of_the_app(address: str, other: str) -> None:
    with listening_at(address) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"--port = '{port}': " + pattern("errors.port_in_use")):
            choose_port(str(port), address)
        assert choose_port(str(port), other) == port


def test_read_only_reaches_the_app() -> None:
    assert listen("--read-only").environment == {"EXPLORER_READ_ONLY": "1"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--allow-host", "http://lab.example"),
        ("--allow-host", "lab.example:80"),
        ("--allow-host", ""),
        ("--allow-host", "*"),
        ("--behind-proxy", "X Forwarded"),
        ("--allow-host", "2001:db8::7:x"),
        ("--allow-host", "[2001:db8::7]:80"),
        ("--base-path", "/a b"),
        ("--base-path", "/../x"),
        ("--base-path", "x/./y"),
        ("--base-path", "/moe/.."),
        ("--base-path", "."),
        ("--address", "no.such.machine.invalid", "--allow-host", "lab.example"),
        ("--address", "203.0.113.7", "--allow-host", "lab.example"),
    ],
)
def test_what_means_nothing_gets_a_sentence(arguments: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as refused:
        listen(*arguments)
    assert refused.value.field == arguments[0]
