"""No address of the server leads to a file outside of what it serves."""

import http.client
import itertools
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="the benchmarks' server helper stands beside its browser")

from benchmarks.app import serving

DOTS = ("../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..\\", "..%5c", "....//", "%252e%252e%252f", "..%c0%af")
ROOTS = ("/", "/static/", "/media/", "/component/", "/app/static/", "/_stcore/", "/_stcore/bidi-components/")
TARGETS = ("etc/passwd", "app.py", "pyproject.toml", "explorer/config/run.py", "secret.txt")
SCRIPT = "import streamlit as st\n\nst.write('SECRET of the script')\n"


def test_dots_in_an_address_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("SECRET of the folder")
    script = tmp_path / "app.py"
    script.write_text(SCRIPT)
    # 63 addresses; every root and every way to write dots meets every target at some depth.
    targets, depths = itertools.cycle(TARGETS), itertools.cycle((1, 8))
    secrets = (b"root:x:", b"SECRET of", b"[build-system]", b"class RunConfig")
    with serving(str(tmp_path), script) as base:
        connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=30)
        for root in ROOTS:
            for dots in DOTS:
                address = root + dots * next(depths) + next(targets)
                connection.request("GET", address)
                body = connection.getresponse().read()
                assert not any(secret in body for secret in secrets), address
        connection.request("GET", "/secret.txt")
        assert b"SECRET of" not in connection.getresponse().read()
        connection.request("GET", "/_stcore/health")
        assert connection.getresponse().read() == b"ok"
        connection.close()
