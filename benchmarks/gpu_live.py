"""A short training run on a device, started, switched and stopped through a pipe, as the Train page does."""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from explorer.recording.listing import list_runs

LIMIT_S = 90.0
STEPS = 40
"""Steps before the switch of the rule; after twice as many the run is stopped."""


def live_run(device: str, preset: str) -> dict[str, Any]:
    """The outcome; `holds` if the run was switched while training, stopped on request, and fully recorded."""
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        settings = {"training.device": device, "training.num_steps": 100_000}
        command = [sys.executable, "-m", "explorer", "train", "--preset", preset, "--balancer", "none"]
        command += ["--runs", folder, "--run-id", "live", "--control-stdin"]
        for name, value in settings.items():
            command += ["--set", f"{name}={value}"]
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors, bufsize=0
            )
            try:
                outcome = steer(process, runs / "live")
            finally:
                process.kill()
                process.wait()
                process.stdin.close()
            errors.seek(0)
            outcome["said"] = errors.read()[-2000:]
        return judged(outcome, runs)


def steer(process: "subprocess.Popen[bytes]", folder: Path) -> dict[str, Any]:
    """Switch after `STEPS`, stop `STEPS` after the switch; seconds until started and until stopped."""
    began = time.monotonic()

    def wait_for(condition: Callable[[], bool]) -> None:
        while process.poll() is None and not condition() and time.monotonic() - began < LIMIT_S:
            time.sleep(0.05)

    wait_for(lambda: last_step(folder) >= STEPS)
    first = time.monotonic()
    tell(process, {"command": "switch", "rules": "loss_free"})
    wait_for(lambda: bool(switches(folder)))
    # A run that never switched has ended or run out of time, so there is nothing to wait for.
    wait_for(lambda: last_step(folder) >= max(switches(folder), default=0) + STEPS)
    tell(process, {"command": "stop"})
    asked = time.monotonic()
    wait_for(lambda: False)
    return {
        "exit_code": process.poll(),
        "seconds_to_steps": first - began,
        "seconds_to_stop": time.monotonic() - asked,
    }


def tell(process: "subprocess.Popen[bytes]", command: dict[str, str]) -> None:
    """Send one command as a line; a run that has already ended is detected by its exit code."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(command).encode() + b"\n")


def content(path: Path) -> dict[str, Any]:
    """Content of a JSON file; empty if it does not exist yet."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def last_step(folder: Path) -> int:
    return int(content(folder / "status.json").get("last_step", -1))


def switches(folder: Path) -> list[int]:
    """Steps at which the rules change, according to the run."""
    balancer = content(folder / "run.json").get("config", {}).get("balancer", {})
    return [change["step"] for change in balancer.get("schedule", ())]


def judged(outcome: dict[str, Any], runs: Path) -> dict[str, Any]:
    """The outcome, completed from the run folder."""
    folder = runs / "live"
    state, switched = content(folder / "status.json"), switches(folder)
    outcome |= {
        "state": state.get("state"),
        "device": content(folder / "run.json").get("device"),
        "steps": last_step(folder) + 1,
        "switched_at": switched,
        "tokens_per_second": state.get("tokens_per_second"),
        "problems": [listing.problem for listing in list_runs(runs) if listing.problem],
    }
    outcome["holds"] = (
        outcome["exit_code"] == 0
        and outcome["state"] == "stopped"
        and len(switched) == 1
        and not outcome["problems"]
    )
    return outcome


def row(live: dict[str, Any]) -> str:
    ending = "" if live["holds"] else f"; {live['problems'] or ''} {live['said'][-500:]}"
    return (
        f"{'holds' if live['holds'] else 'DIFFERS'}: {live['device']}, {live['steps']} steps, switched at "
        f"{live['switched_at']}, {live['state']} {live['seconds_to_stop']:.1f} s after the request; "
        f"the first {STEPS} steps took {live['seconds_to_steps']:.1f} s{ending}"
    )
