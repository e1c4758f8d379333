"""How long a visitor waits after a click or key press, and how much the server sends, with the shipped runs.

    python -m benchmarks.interactions [--rounds 5] [--only replay,compare]

Needs Chromium. Goals: 300 ms from the event until the page stops changing, and at most 2 MB sent per
interaction. Every interaction is performed once before it is measured. Times are taken inside the
browser, from the event until the frame after the last change.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

from playwright.sync_api import Page, WebSocket, sync_playwright

from benchmarks.app import CHROMIUM, serving

QUIET_MS = 700
"""A page that does not change for this long has finished."""
WATCH = """(quiet) => {
    const main = document.querySelector('[data-testid="stMain"]');
    const KINDS = ["keydown", "pointerdown"];
    window.answered = new Promise((resolve) => {
        let start = null, last = null, timer = 0;
        const begin = (event) => { if (start === null) { start = event.timeStamp; settle(); } };
        for (const kind of KINDS) addEventListener(kind, begin, { capture: true });
        const settle = () => {
            clearTimeout(timer);
            timer = setTimeout(() => {
                if (main.querySelector('[data-stale="true"]')) return settle();
                seen.disconnect();
                for (const kind of KINDS) removeEventListener(kind, begin, { capture: true });
                resolve(last === null ? 0 : last - start);
            }, quiet);
        };
        const seen = new MutationObserver(() => {
            if (start === null) return;
            requestAnimationFrame(() => { last = performance.now(); settle(); });
        });
        seen.observe(main, { subtree: true, childList: true, characterData: true, attributes: true });
    });
}"""


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


INTERACTIONS = (
    Interaction(page="compare", name="another layer", act=_segment("MoE layer", ("1", "2", "3", "0"))),
    Interaction(page="compare", name="another axis", act=_segment("Horizontal axis", ("tokens", "step"))),
    Interaction(page="replay?step=100", name="a step", act=_number("Step", 200)),
    Interaction(page="replay?step=100", name="the next layer by key", act=_key("j", "k")),
    Interaction(page="microscope", name="a token", act=lambda page, n: _token(page, 40 + n)),
    Interaction(
        page="microscope",
        name="an expert",
        act=lambda page, n: page.get_by_role("button", name=f"Expert {n}", exact=True).click(),
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


class Weight:
    """Counts what the server sends."""

    def __init__(self, page: Page) -> None:
        self.received = 0
        page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framereceived", self._add)

    def _add(self, data: str | bytes) -> None:
        self.received += len(data)

    def take(self) -> int:
        """Bytes since the last call."""
        taken, self.received = self.received, 0
        return taken


def settle(page: Page) -> None:
    """Wait until the page is completely drawn."""
    page.get_by_role("heading", level=1).first.wait_for()
    page.wait_for_function(
        """() => !document.querySelector('[data-testid="stStatusWidget"], [data-stale="true"]')"""
    )
    page.wait_for_timeout(1500)


def measure(page: Page, weight: Weight, one: Interaction, rounds: int) -> tuple[list[float], int]:
    """Milliseconds of every round, and the largest number of bytes in a round."""
    times, most = [], 0
    for n in range(rounds + 2):
        weight.take()
        page.evaluate(WATCH, QUIET_MS)
        one.act(page, n)
        took = float(page.evaluate("window.answered"))
        if n >= 2:
            times.append(took)
            most = max(most, weight.take())
    return times, most


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--only", default="", help="pages, by the beginning of their address")
    options = parser.parse_args()
    chosen = [
        i for i in INTERACTIONS if not options.only or i.page.startswith(tuple(options.only.split(",")))
    ]
    print("goals: 300 ms, 2,000 kB")
    with tempfile.TemporaryDirectory() as folder, serving(folder) as base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for one in chosen:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            weight = Weight(page)
            page.goto(f"{base}/{one.page}")
            settle(page)
            first = weight.take()
            times, most = measure(page, weight, one, options.rounds)
            print(
                f"{one.page.partition('?')[0]:<12} {one.name:<24} median {statistics.median(times):4.0f} ms, "
                f"worst {max(times):4.0f} ms, {most / 1000:,.0f} kB; page visit {first / 1000:,.0f} kB",
                flush=True,
            )
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
