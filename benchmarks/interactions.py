"""How long a visitor waits after a click or key press, and how much the server sends, with the shipped runs.

    python -m benchmarks.interactions [--rounds 20] [--only replay,compare] [--json]

Needs Chromium. Goals: a median of 300 ms from the event until what is in the window stops changing, 500 ms
until the page does (also the 95th percentile), and at most 500 kB sent; a page that was visited before
can be used within 2 s and is quiet within 4 s. The page counts without charts of parts that the browser
skips because they are far from the window; where those are drawn later, that is printed as well. Every
interaction is performed twice before it is measured. Times are taken inside the browser, from the event until
the frame after the last change. A page with one slider and one chart is measured in the same run: the ratio
to it says how far the app is from what a busy machine allows.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.app import CHROMIUM, serving
from benchmarks.watching import REST_QUIET_MS, WATCH, Weight, build_index, settle, visit

GOAL_MS, GOAL_PAGE_MS, GOAL_KB = 300, 500, 500
GOAL_USABLE_MS, GOAL_QUIET_MS = 2000, 4000
YARDSTICK = """
import altair as alt
import polars as pl
import streamlit as st
st.title("One slider, one chart")
n = st.slider("n", 0, 100, 50)
rows = pl.DataFrame({"x": range(100), "y": [(i * n) % 17 for i in range(100)]})
st.altair_chart(alt.Chart(rows).mark_line().encode(x="x", y="y"))
"""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One line of the table."""

    page: str
    name: str
    median_ms: float
    p95_ms: float
    kB: float
    window_ms: float | None = None
    """Median until what is in the window stops changing, the others until the page does; None for a visit."""
    all_ms: float | None = None
    """Median until the charts that the browser skips are drawn as well; None for a visit."""


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """One interaction, repeated every round: `act(page, n)` with n from 0."""

    page: str
    name: str
    act: Callable[[Page, int], None]


def _segment(label: str, options: tuple[str, ...]) -> Callable[[Page, int], None]:
    def act(page: Page, n: int) -> None:
        group = page.get_by_role("radiogroup", name=label)
        group.get_by_text(options[n % len(options)], exact=True).first.click()

    return act


def _number(label: str, first: int) -> Callable[[Page, int], None]:
    def act(page: Page, n: int) -> None:
        box = page.get_by_role("spinbutton", name=label).first
        box.fill(str(first + n))
        box.press("Enter")

    return act


def _slider(label: str) -> Callable[[Page, int], None]:
    return lambda page, n: page.get_by_role("slider", name=label).first.press(
        "ArrowRight" if n % 2 else "ArrowLeft"
    )


def _key(*keys: str) -> Callable[[Page, int], None]:
    return lambda page, n: page.keyboard.press(keys[n % len(keys)])


EXPERTS = 16
"""In each layer of the shipped run that the Microscope opens with."""
BARE = Interaction(page="", name="a slider and a chart", act=_slider("n"))
INTERACTIONS = (
    Interaction(page="compare", name="another layer", act=_segment("MoE layer", ("1", "2", "3", "0"))),
    Interaction(page="compare", name="another axis", act=_segment("Horizontal axis", ("tokens", "step"))),
    Interaction(page="replay?step=100", name="a step", act=_number("Step", 200)),
    Interaction(page="replay?step=100", name="the next layer by key", act=_key("j", "k")),
    Interaction(page="microscope", name="a token", act=lambda page, n: _token(page, 40 + n)),
    Interaction(
        page="microscope",
        name="an expert",
        act=lambda page, n: page.get_by_role("button", name=f"Expert {n % EXPERTS}", exact=True).click(),
    ),
    Interaction(page="microscope", name="another layer", act=_segment("MoE layer", ("1", "2", "3", "0"))),
    Interaction(page="serving", name="another layer", act=_segment("MoE layer", ("1", "2", "3", "0"))),
    Interaction(page="serving", name="copies per GPU", act=_slider("Extra copies per GPU")),
    Interaction(page="playground", name="rate of A", act=_slider("Rate u of A")),
    Interaction(page="playground", name="the playhead", act=_slider("Step")),
    Interaction(page="theory", name="rate", act=_slider("Rate u")),
    Interaction(page="glossary", name="a word", act=lambda page, n: _word(page, ("bias", "load")[n % 2])),
)


def _token(page: Page, index: int) -> None:
    page.locator(f'[role="option"][data-index="{index}"]').click()


def _word(page: Page, text: str) -> None:
    box = page.get_by_role("textbox", name="Find a term")
    box.fill(text)
    box.press("Enter")


def measure(
    page: Page, weight: Weight, one: Interaction, rounds: int
) -> tuple[list[tuple[float, float, float]], int]:
    """Milliseconds of every round, for window, page and skipped charts, and the most bytes of a round."""
    times, most = [], 0
    for n in range(rounds + 2):
        weight.take()
        page.evaluate(WATCH, REST_QUIET_MS)
        one.act(page, n)
        in_window, on_page, everything = page.evaluate("window.answered")
        if n >= 2:
            times.append((float(in_window), float(on_page), float(everything)))
            most = max(most, weight.take())
    return times, most


def p95(times: Sequence[float]) -> float:
    """The 95th percentile, interpolated; the largest of a few."""
    if len(times) < 2:
        return max(times)
    return min(max(times), statistics.quantiles(times, n=20, method="inclusive")[-1])


def interact(browser: Browser, base: str, one: Interaction, rounds: int) -> Result:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    weight = Weight(page)
    page.goto(f"{base}/{one.page}")
    settle(page)
    times, most = measure(page, weight, one, rounds)
    page.close()
    name = one.page.partition("?")[0] or "yardstick"
    in_window, on_page, everything = zip(*times, strict=True)
    return Result(
        page=name,
        name=one.name,
        median_ms=statistics.median(on_page),
        p95_ms=p95(on_page),
        kB=most / 1000,
        window_ms=statistics.median(in_window),
        all_ms=statistics.median(everything),
    )


def visits(browser: Browser, base: str, page: str, rounds: int) -> Iterator[Result]:
    """Two lines: until the page can be used, and until it is quiet, after one visit that is not measured."""
    visit(browser, f"{base}/{page}")
    usable, quiet, sizes = zip(*(visit(browser, f"{base}/{page}") for _ in range(rounds)), strict=True)
    for name, times in (("visit: usable", usable), ("visit: quiet", quiet)):
        yield Result(
            page=page.partition("?")[0],
            name=name,
            median_ms=statistics.median(times),
            p95_ms=p95(times),
            kB=max(sizes) / 1000,
        )


@contextmanager
def bare_server(folder: str) -> Iterator[str]:
    script = Path(folder) / "yardstick.py"
    script.write_text(YARDSTICK, encoding="utf-8")
    with serving(folder, script) as base:
        yield base


def line(result: Result, bare: Result) -> str:
    """As text: the figures, the goal, and the ratio to the yardstick."""
    goal = GOAL_USABLE_MS if result.name.endswith("usable") else GOAL_QUIET_MS
    is_met, goals, window = result.median_ms <= goal, f"goal {goal:,} ms", ""
    if result.window_ms is not None:
        is_met = result.window_ms <= GOAL_MS and result.median_ms <= GOAL_PAGE_MS
        goals, window = f"goals {GOAL_MS} and {GOAL_PAGE_MS} ms", f"window {result.window_ms:4.0f} ms, page "
    mark = "met" if is_met else "missed"
    figures = f"median {result.median_ms:4.0f} ms, p95 {result.p95_ms:4.0f} ms, {result.kB:,.0f} kB"
    if result.all_ms is not None and result.all_ms > result.median_ms:
        figures += f", skipped charts {result.all_ms:4.0f} ms"
    ratio = f"{result.median_ms / bare.median_ms:.1f} × the yardstick"
    return f"{result.page:<12} {result.name:<24} {window}{figures}; {goals} {mark}; {ratio}"


def run(options: argparse.Namespace, report: Callable[[Result, Result], None]) -> None:
    """Measure the yardstick, the interactions and the visits, and report each."""
    only = tuple(options.only.split(","))
    chosen = [one for one in INTERACTIONS if one.page.startswith(only)]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        with bare_server(folder) as base:
            bare = interact(browser, base, BARE, options.rounds)
        report(bare, bare)
        build_index(folder)
        with serving(folder) as base:
            for one in chosen:
                report(interact(browser, base, one, options.rounds), bare)
            for page in dict.fromkeys(one.page for one in chosen):
                for result in visits(browser, base, page, options.visits):
                    report(result, bare)
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--visits", type=int, default=5, help="visits per page")
    parser.add_argument("--only", default="", help="pages, by the beginning of their address")
    parser.add_argument("--json", action="store_true", help="one list of objects, and nothing else")
    options = parser.parse_args()
    results: list[Result] = []

    def report(result: Result, bare: Result) -> None:
        results.append(result)
        if not options.json:
            print(line(result, bare), flush=True)

    if not options.json:
        print(
            f"goals: medians of {GOAL_MS} ms in the window and {GOAL_PAGE_MS} ms of the page (also its p95), "
            f"{GOAL_KB} kB"
        )
    run(options, report)
    if options.json:
        print(json.dumps([asdict(result) for result in results], indent=1))


if __name__ == "__main__":
    main()
