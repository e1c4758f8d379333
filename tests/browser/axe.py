"""Rules of accessibility: what axe-core finds on a page as it stands."""

import servers
from page_state import settled
from playwright.sync_api import Page

AXE = servers.ROOT / "node_modules" / "axe-core" / "axe.min.js"
"""The version that the project pins; without `npm ci`, the one that comes with axe-playwright-python."""
GRAVE = ("serious", "critical")
CONTRAST = ("color-contrast", "link-in-text-block")
"""The rules whose answer depends on the theme."""
BACKGROUND = """() => getComputedStyle(document.querySelector('[data-testid="stApp"]')).backgroundColor"""
"""Tells one theme from the other."""
# Style sheets and sounds are fetched for rules that are off by default or about sounds, which no page has.
CHECK = """async (rules) => {
    const options = { resultTypes: ["violations"], preload: false, ...(rules ? { runOnly: rules } : {}) };
    const reasons = (node) => [...node.any, ...node.all, ...node.none].map((c) => c.message).join("; ");
    return (await axe.run(document, options)).violations.flatMap(({ id, impact, nodes }) =>
        nodes.map((node) => [impact, `${id}: ${node.html.slice(0, 160)} ${reasons(node)}`]));
}"""


def script() -> str:
    if AXE.is_file():
        return AXE.read_text(encoding="utf-8")
    from axe_playwright_python.sync_playwright import Axe

    return str(Axe().axe_script)


def barriers(page: Page, rules: tuple[str, ...] = ()) -> list[str]:
    """Serious and critical violations of these rules, by default of all: rule, element and reason."""
    page.evaluate(script())
    violations = page.evaluate(CHECK, list(rules) or None)
    return [text for impact, text in violations if impact in GRAVE]


def barriers_in_both_themes(page: Page) -> list[str]:
    """Those of a page that stands in dark: of the rules of contrast there, and of all rules in light."""
    dark = page.evaluate(BACKGROUND)
    in_dark = barriers(page, CONTRAST)
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"dark => ({BACKGROUND})() !== dark", arg=dark)
    settled(page)
    return in_dark + barriers(page)
