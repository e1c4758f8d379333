"""The Train page in a browser: start runs and read what their folders say."""

import json
import re

from app_server import AppServer
from playwright.sync_api import BrowserContext, Page, expect
from sentences import sentence

CHARTS = '[data-testid="stVegaLiteChart"]'


def start(context: BrowserContext, server: AppServer, rules: list[str], steps: int) -> Page:
    """Open the Train page and start `rules` with the smallest preset and this many steps."""
    page = context.new_page()
    page.set_viewport_size({"width": 1400, "height": 1200})
    page.goto(f"{server.url}/train")
    preset = page.get_by_role("combobox", name=re.compile("Preset"))
    preset.click()
    page.get_by_role("option", name=re.compile("^tiny")).click()
    # By its key: for a moment the fields of both presets are on the page.
    field = page.locator(".st-key-train_tiny_training-num_steps input")
    expect(field).to_have_value("20")
    field.fill(str(steps))
    field.press("Enter")
    picker = page.get_by_test_id("stMultiSelect").filter(has_text="Balancing rules")
    for rule, name in (("none", "no balancing"), ("aux_loss", "aux global"), ("loss_free", "loss-free")):
        if rule not in rules:
            picker.get_by_role("button", name=re.compile(name)).click()
    page.get_by_role("button", name="Start training").click()
    expect(page.get_by_role("heading", name=sentence("shell.training_now"))).to_be_visible()
    return page


def statuses(server: AppServer) -> dict[str, dict[str, object]]:
    """Run id -> status.json of every run folder."""
    statuses_of = {}
    for file in server.runs.glob("*/status.json"):
        statuses_of[file.parent.name] = json.loads(file.read_text(encoding="utf-8"))
    return statuses_of
