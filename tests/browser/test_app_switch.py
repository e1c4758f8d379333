"""Switching the rule of a run from the page, in a real Chromium; the run folder says what happened."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import servers
from app_server import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]
servers.need_chromium()

from playwright.sync_api import BrowserContext, Page, expect  # noqa: E402
from reference import figures  # noqa: E402
from sentences import pattern, sentence  # noqa: E402
from training_page import CHARTS, start, statuses  # noqa: E402
from waiting import wait_for  # noqa: E402

from explorer.config.run import RunConfig  # noqa: E402
from explorer.recording import RunFolder  # noqa: E402

U = 0.003
WINDOW = 60
"""Steps: 120 after the switch the biases have taken MaxVio from 1 to below a third."""

POLL_S = 0.25
"""Page and run are asked this often: each question takes processor time from them."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[AppServer]:
    # It trains for as long as the page is drawn and clicked, and leaves the processor to it.
    server = AppServer(tmp_path, pause_s=0.02)
    try:
        yield server.wait()
    finally:
        server.stop()


def last_step(server: AppServer) -> int:
    (status,) = statuses(server).values()
    return int(str(status["last_step"]))


def press(page: Page, name: str, in_force: str) -> None:
    """Press a button of the switch and wait until the page says that the rule acts."""
    page.get_by_role("button", name=name, exact=True).click()
    expect(page.get_by_text(re.compile(pattern("train.rule_in_force") + f" {in_force}"))).to_be_visible()


def max_vio(loads: pl.DataFrame, steps: range) -> float:
    """MaxVio of what the steps have counted together, mean over layers."""
    part = loads.filter(pl.col("step").is_between(steps.start, steps.stop - 1))
    totals = part.group_by("layer", "expert").agg(pl.col("tokens").sum()).sort("layer", "expert")
    by_layer = [group["tokens"].to_list() for _, group in totals.group_by("layer", maintain_order=True)]
    return figures.mean_max_vio(by_layer)


def test_unbalanced_then_loss_free_and_back(context: BrowserContext, server: AppServer) -> None:
    page = start(context, server, ["none"], 20_000)
    expect(
        page.get_by_text(re.compile(pattern("train.rule_in_force_since", rule="no balancing", step=0)))
    ).to_be_visible()
    wait_for(lambda: statuses(server) and last_step(server) > WINDOW + 20, POLL_S)
    press(page, "Loss-free", "loss-free 0.003")
    (folder,) = (RunFolder(server.runs / run_id) for run_id in statuses(server))
    (change,) = RunConfig.from_dict(folder.info.config).balancer.schedule
    expect(page.get_by_text(sentence("train.since_step", step=f"{change.step:,}"))).to_be_visible()
    expect(page.get_by_role("button", name="Loss-free", exact=True)).to_be_disabled()
    # The rule stands on both live figures, with its word.
    marks = page.locator(f"{CHARTS} svg text", has_text="loss-free 0.003")
    wait_for(lambda: marks.count() >= 2, POLL_S)
    wait_for(lambda: last_step(server) > change.step + 3 * WINDOW, POLL_S)
    press(page, "No balancing", pattern("train.none_since") + " [1-9]")
    page.get_by_role("button", name="Another rule").click()
    field = page.get_by_label("Switch to", exact=True)
    field.fill("loss_fre")
    page.get_by_role("button", name="Switch", exact=True).click()
    expect(page.get_by_text(sentence("errors.unknown_balancer")).first).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Stop", exact=True).last.click()
    wait_for(lambda: [s["state"] for s in statuses(server).values()] == ["stopped"], POLL_S)
    page.close()

    folder = RunFolder(folder.path)
    first, second = RunConfig.from_dict(folder.info.config).balancer.schedule
    assert first == change
    assert second.rules == ()
    events = folder.read("events").filter(pl.col("kind") == "balancer_changed").sort("step")
    assert events["step"].to_list() == [first.step, second.step]
    loads = folder.read("expert_loads").sort("step", "layer", "expert")
    with_bias = loads.drop_nulls("expert_bias")
    assert (with_bias["step"].min(), with_bias["step"].max()) == (first.step, second.step - 1)
    # From the integers of each step to the bias of the next: Algorithm 1, and nothing else.
    shape = (second.step - first.step, 2, 4)
    counts = with_bias["tokens"].to_numpy().reshape(shape)
    bias = with_bias["expert_bias"].to_numpy().reshape(shape)
    assert not bias[0].any()
    moved = U * np.sign(counts.mean(-1, keepdims=True) - counts)
    np.testing.assert_allclose(np.diff(bias, axis=0), moved[:-1], atol=1e-6)
    before = max_vio(loads, range(first.step - WINDOW, first.step))
    after = max_vio(loads, range(first.step + 2 * WINDOW, first.step + 3 * WINDOW))
    assert after < before / 2
