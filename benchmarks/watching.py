"""What a browser sees of a page: when it stops changing, when it can be used, and what the server sends."""

from pathlib import Path

from playwright.sync_api import Browser, Page, WebSocket

from benchmarks.app import ROOT
from explorer.store import Index

QUIET_MS = 700
"""A page that does not change for this long has finished."""
REST_QUIET_MS = 1500
"""The same for one that puts off charts which the browser skips: they are drawn after a second of rest
(`REST_MS` in `near_first.js`)."""
# Resolves to milliseconds from the event to the last change in the window, to the last of the page without
# charts that the browser skips, and to the last of all. What is where is looked up when everything is quiet,
# and a chart counts as a whole.
WATCH = """(quiet) => {
    const main = document.querySelector('[data-testid="stMain"]');
    const changes = [];
    const isInWindow = (node) => {
        const element = node instanceof Element ? node : node.parentElement;
        const box = (element?.closest('[data-testid="stVegaLiteChart"]') ?? element)?.getBoundingClientRect();
        return box !== undefined && box.width > 0 && box.bottom > 0 && box.top < innerHeight;
    };
    const isKept = (node) => {
        const chart = (node instanceof Element ? node : node.parentElement)
            ?.closest('[data-testid="stVegaLiteChart"]');
        return node.isConnected && (!chart || chart.checkVisibility({ contentVisibilityAuto: true }));
    };
    const lastOf = (isCounted) => changes.findLast(({ nodes }) => [...nodes].some(isCounted))?.time;
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
                resolve([lastOf(isInWindow), lastOf(isKept), last].map((time) => (time ?? start) - start));
            }, quiet);
        };
        const seen = new MutationObserver((records) => {
            if (start === null) return;
            const nodes = new Set(records.map(({ target }) => target));
            requestAnimationFrame(() => {
                last = performance.now();
                changes.push({ time: last, nodes });
                settle();
            });
        });
        seen.observe(main, { subtree: true, childList: true, characterData: true, attributes: true });
    });
}"""
# Before the page's own scripts: milliseconds since the navigation began at which the page could be used and
# at which it changed last.
VISIT = """() => {
    const visit = window.visit = { usable: null, last: null };
    const CONTENT = '[data-testid="stVegaLiteChart"] :is(svg, canvas), canvas, input, [role="slider"]';
    const look = () => {
        const main = document.querySelector('[data-testid="stMain"]');
        if (!main) return;
        visit.last = performance.now();
        const shadows = [...main.querySelectorAll('*')].map((node) => node.shadowRoot).filter(Boolean);
        const roots = [main, ...shadows];
        if (visit.usable === null && main.querySelector('h1')
            && roots.some((root) => root.querySelector(CONTENT))) visit.usable = visit.last;
    };
    new MutationObserver(() => requestAnimationFrame(look)).observe(document, {
        subtree: true, childList: true, characterData: true, attributes: true });
}"""
CALM = "(quiet) => window.visit.usable !== null && performance.now() - window.visit.last > quiet"
PATIENCE_MS = 120_000.0


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


def build_index(folder: str) -> None:
    """The index of the shipped runs, where `benchmarks.app.serving` looks for it: no visit waits for it."""
    with Index.open(Path(folder) / "index.duckdb") as index:
        index.ingest([ROOT / "data" / "runs"])


def settle(page: Page) -> None:
    """Wait until the page is completely drawn."""
    page.get_by_role("heading", level=1).first.wait_for(timeout=PATIENCE_MS)
    page.wait_for_function(
        """() => !document.querySelector('[data-testid="stStatusWidget"], [data-stale="true"]')""",
        timeout=PATIENCE_MS,
    )
    page.wait_for_timeout(1500)


def visit(browser: Browser, url: str) -> tuple[float, float, int]:
    """Open an address in a new tab: milliseconds until it can be used and until it is quiet, bytes received.

    It can be used when its heading and its first drawing or control are there.
    """
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    weight = Weight(page)
    page.add_init_script(f"({VISIT})()")
    page.goto(url)
    page.wait_for_function(CALM, arg=2 * QUIET_MS, timeout=PATIENCE_MS)
    usable, last = page.evaluate("[window.visit.usable, window.visit.last]")
    page.close()
    return float(usable), float(last), weight.take()
