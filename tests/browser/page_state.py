"""When a page has settled: a mark that can be waited for, instead of a pause that may be too short.

`watch` tells a context to note in each of its pages what still moves. A page has settled once the server has
answered the last request for a rerun, the script stands still, nothing is out of date, every chart in sight
is drawn, no transition runs, and then nothing has changed for `QUIET_MS` and `QUIET_FRAMES` frames: long
enough for what the page itself puts off (the playhead's report, Streamlit's debounced widgets). A page that
a timer redraws never settles.
"""

from playwright.sync_api import BrowserContext, Page

QUIET_MS = 250
QUIET_FRAMES = 6
"""On a busy machine a put-off report can be late; frames are then as late as it is."""

# Of Streamlit's messages, which are protocol buffers: a request for a rerun is field 11 of BackMsg, and what
# the server sends when a run begins is field 4 (`new_session`) of ForwardMsg.
WATCH = """() => {
    if (window.settling) return;
    const state = (window.settling = { since: performance.now(), frames: 0, unanswered: false });
    const touch = () => { state.since = performance.now(); state.frames = 0; };
    const RERUN = (11 << 3) | 2, BEGINS = 4;
    const begins = (data) => {
        const bytes = new Uint8Array(data);
        let at = 0;
        const number = () => {
            for (let value = 0, unit = 1; ; unit *= 128) {
                const byte = bytes[at++];
                value += (byte & 127) * unit;
                if (byte < 128) return value;
            }
        };
        while (at < bytes.length) {
            const tag = number();
            if (tag >> 3 === BEGINS) return true;
            const value = number();
            if ((tag & 7) === 2) at += value;
        }
        return false;
    };
    window.WebSocket = class extends window.WebSocket {
        constructor(...args) {
            super(...args);
            this.addEventListener("message", ({ data }) => {
                if (begins(data)) state.unanswered = false;
                touch();
            });
        }
        send(data) {
            if (new Uint8Array(data.buffer ?? data)[data.byteOffset ?? 0] === RERUN) state.unanswered = true;
            touch();
            super.send(data);
        }
    };
    const everything = { subtree: true, childList: true, attributes: true, characterData: true };
    new MutationObserver(touch).observe(document, everything);
}"""

SETTLED = """([quiet, frames]) => {
    const state = window.settling;
    const app = document.querySelector('[data-testid="stApp"]');
    const inSight = (chart) => chart.checkVisibility() && chart.getBoundingClientRect().width > 0;
    const undrawn = () => [...document.querySelectorAll('[data-testid="stVegaLiteChart"]')]
        .some((chart) => inSight(chart) && !chart.querySelector("svg, canvas"));
    const moving = () => document.getAnimations().some((animation) =>
        animation.playState === "running" && animation.effect?.getComputedTiming().endTime !== Infinity);
    const still = app?.dataset.testScriptState === "notRunning" && !state.unanswered
        && !document.querySelector('[data-stale="true"], [data-testid="stSkeleton"]')
        && !undrawn() && !moving();
    if (!still) state.frames = 0;
    state.frames += 1;
    return still && state.frames > frames && performance.now() - state.since > quiet;
}"""

# What turns or shimmers while a page waits is drawn 60 times a second, by the processor that it waits for.
STILL = """() => {
    const still = new CSSStyleSheet();
    const waiting = ["stStatusWidget", "stSkeleton", "stAppSkeleton"].map((id) => `[data-testid="${id}"]`);
    still.replaceSync(`${waiting} { display: none !important; }`);
    document.adoptedStyleSheets.push(still);
}"""


def watch(context: BrowserContext) -> BrowserContext:
    """Every page that this context opens from now on can be waited for with `settled`, and hides what turns
    while it waits."""
    context.add_init_script(f"({WATCH})()")
    context.add_init_script(f"({STILL})()")
    return context


def settled(page: Page) -> None:
    """Wait until nothing on the page moves any more."""
    page.wait_for_function(SETTLED, arg=[QUIET_MS, QUIET_FRAMES])
