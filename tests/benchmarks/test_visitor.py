"""The benchmarks' visitor against a real server: what it opens, moves and follows is what the page says."""

import asyncio
import math
import random
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="the benchmarks' server helper stands beside its browser")

from benchmarks import load
from benchmarks.app import serving
from benchmarks.load import at_playhead, waits
from benchmarks.visitor import Visitor

SCRIPT = """
import streamlit as st

def first():
    st.session_state.runs = st.session_state.get("runs", 0) + 1
    st.markdown(f"run {st.session_state.runs}")

    @st.fragment
    def playhead():
        step = st.number_input("Step", 0, 100, 3, key="step", bind="query-params")
        st.markdown(f"Now at step {step:.0f}.")
        if step == 13:
            st.markdown([][0])

    playhead()

def second():
    st.markdown("the second page")

st.navigation([st.Page(first, default=True), st.Page(second, url_path="second")]).run()
"""


async def visit(base: str) -> None:
    async with Visitor(base) as visitor:
        assert await visitor.open("", "step=7") > 0
        assert visitor.texts() == ["run 1", "Now at step 7."]
        await visitor.set_number("Step", 8)
        # Only the fragment ran again, and the address follows.
        assert visitor.texts() == ["run 1", "Now at step 8."]
        assert visitor.query == "step=8"
        assert at_playhead(visitor, 8) == ["Now at step 8."]
        assert not at_playhead(visitor, 80)
        assert not visitor.errors
        await visitor.set_number("Step", 13)
        assert visitor.errors == ["IndexError: list index out of range"]
        await visitor.follow("second")
        assert visitor.texts() == ["the second page"]
        with pytest.raises(LookupError, match=r"has no number_input 'Step'"):
            visitor.widget("Step", "number_input")
        # Another address is another session.
        await visitor.open()
        assert visitor.texts() == ["run 1", "Now at step 3."]


def test_a_visitor_sees_what_the_page_says_whatever_proxy_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of this machine is asked directly: nobody answers at the proxy."""
    script = tmp_path / "app.py"
    script.write_text(SCRIPT)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(str(tmp_path), script) as base:
        asyncio.run(visit(base))


class Misled:
    """A visitor who is told of another step, and whose page has shown an exception."""

    page = "replay"

    def __init__(self) -> None:
        self.errors = ["IndexError: gone"]

    async def open(self, page: str = "", query: str = "") -> float:
        return 0.5

    async def follow(self, page: str) -> float:
        return 0.5

    async def set_number(self, label: str, value: float) -> float:
        return 0.25

    def texts(self) -> list[str]:
        return ["At step 7: 1.5 times uniform"]


def test_a_wrong_answer_and_an_exception_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "THINK_S", (0.0, 0.0))
    expected = {(run, 7): ["At step 7: 2.5 times uniform"] for run in load.RUNS}
    findings = load.Findings()
    rng = random.Random(0)
    while not findings.answers:
        asyncio.run(load.one_thing(Misled(), rng, math.inf, [7], expected, findings))
    assert len(findings.wrong) == findings.answers
    assert "1.5 times uniform" in findings.wrong[0]
    assert findings.errors[0] == "/replay: IndexError: gone"
    result = {"errors": [], "wrong": findings.wrong, "tracebacks": 0}
    assert not load.is_right(result)
    assert not load.is_right(result | {"wrong": [], "errors": findings.errors})
    assert load.is_right(result | {"wrong": []})


class Nobody(Misled):
    """A visitor to a server that doesn't answer."""

    def __init__(self, base: str) -> None:
        super().__init__()

    async def __aenter__(self) -> "Nobody":
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    async def open(self, page: str = "", query: str = "") -> float:
        raise TimeoutError("no answer")


def test_a_server_that_answers_nobody_is_a_table_of_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "Visitor", Nobody)
    monkeypatch.setattr(load, "THINK_S", (0.0, 0.0))
    findings = load.Findings()
    asyncio.run(load.person("", 3, math.inf, [7], {}, findings))
    assert load.waits_of(findings) == {}
    assert findings.errors == ["session 3 on /replay: TimeoutError: no answer"]
    findings.seconds["open a page"].append(1.0)
    assert list(load.waits_of(findings)) == ["open a page"]


def test_the_95th_percentile_is_the_nearest_rank() -> None:
    assert waits([float(n) for n in range(1, 101)]) == {
        "count": 100,
        "median_s": 50.5,
        "p95_s": 95.0,
        "longest_s": 100.0,
    }
    assert waits([2.0])["p95_s"] == 2.0
