"""Many visitors at once while a run trains: errors, wrong answers, waiting times, memory.

    python -m benchmarks.load [--sessions 24] [--seconds 180] [--json]

Starts the app with the shipped runs, reads the texts at some playheads from the idle server, starts to train
a `standard` run, and lets `--sessions` sessions open pages, follow links and move the step for `--seconds`.
Every text at a playhead is compared with that of the idle server. Sessions speak Streamlit's protocol over
real websockets (`benchmarks/visitor.py`) and pause as people do. Goals: no errors, no wrong answers, p95 of
2 s per move and 5 s per page. Exit code 1 after an error or a wrong answer; slowness is not an error.
"""

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.app import ROOT, start_server, wait_until_up
from benchmarks.visitor import Visitor

PAGES = (
    "",
    "lessons",
    "compare",
    "replay",
    "microscope",
    "playground",
    "theory",
    "train",
    "gallery",
    "evidence",
    "glossary",
)
RUNS = ("standard-loss_free-seed0", "standard-none-seed0", "standard-aux_loss-seed1")
LAST_STEP = 799
PREPARATION_S = 600.0
"""Timeout while the index is built and the reference texts are read; none of this is measured."""
THINK_S = (2.0, 8.0)
"""Shortest and longest pause between two actions of a visitor."""


@dataclass
class Findings:
    """Results of all sessions."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    answers: int = 0
    wrong: list[str] = field(default_factory=list)


Expected = dict[tuple[str, int], list[str]]
"""(run, step) -> the texts at the playhead."""


def at_playhead(visitor: Visitor, step: int) -> list[str]:
    """The texts of the page that name the step."""
    return [text for text in visitor.texts() if re.search(rf"\bstep {step}\b", text, re.IGNORECASE)]


async def open_replay(visitor: Visitor, run: str) -> float:
    return await visitor.open("replay", f"run={run}&layer=1&step=100")


async def quiet_answers(base: str, steps: list[int]) -> Expected:
    """Reference texts, read twice by a single visitor so that unstable texts are detected here."""
    answers: Expected = {}
    async with Visitor(base, patience_s=PREPARATION_S) as visitor:
        for run in RUNS:
            for step in steps * 2:
                if step == steps[0]:
                    await open_replay(visitor, run)
                await visitor.set_number("Step", step)
                texts = at_playhead(visitor, step)
                if not texts or answers.setdefault((run, step), texts) != texts:
                    raise SystemExit(f"{run}, step {step}: the idle server itself is not consistent: {texts}")
    return answers


async def person(
    base: str, number: int, until: float, steps: list[int], expected: Expected, findings: Findings
) -> None:
    """One session: a first visit, then pages, links and runs, with pauses."""
    rng = random.Random(number)
    await asyncio.sleep(rng.uniform(0, THINK_S[1]))
    async with Visitor(base) as visitor:
        try:
            findings.seconds["first visit"].append(await visitor.open())
            while time.monotonic() < until:
                await one_thing(visitor, rng, until, steps, expected, findings)
                await asyncio.sleep(rng.uniform(*THINK_S))
        except Exception as error:
            findings.errors.append(f"session {number} on /{visitor.page}: {type(error).__name__}: {error}")


async def one_thing(
    visitor: Visitor,
    rng: random.Random,
    until: float,
    steps: list[int],
    expected: Expected,
    findings: Findings,
) -> None:
    seconds, chance = findings.seconds, rng.random()
    if chance < 0.25:
        seconds["open a page"].append(await visitor.open(rng.choice(PAGES)))
    elif chance < 0.35:
        seconds["follow a link"].append(await visitor.follow(rng.choice(PAGES)))
    else:
        run = rng.choice(RUNS)
        seconds["open a page"].append(await open_replay(visitor, run))
        for _ in range(rng.randrange(2, 6)):
            if time.monotonic() > until:
                break
            step = rng.choice(steps)
            seconds["move the step"].append(await visitor.set_number("Step", step))
            findings.answers += 1
            said = at_playhead(visitor, step)
            if said != expected[run, step]:
                findings.wrong.append(f"{run}, step {step}: {said} instead of {expected[run, step]}")
            await asyncio.sleep(rng.uniform(*THINK_S) / 2)
    findings.errors += [f"/{visitor.page}: {error}" for error in visitor.errors]
    visitor.errors.clear()


def resident_mb(process: "subprocess.Popen[bytes]") -> float:
    """Memory of a process in 10^6 bytes; 0 once it has ended."""
    try:
        text = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        return int(text.split("VmRSS:")[1].split()[0]) * 1024 / 1e6
    except (OSError, IndexError):
        return 0.0


def start_training(folder: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "explorer", "train", "--preset", "standard", "--run-id", "beside"]
    command += ["--runs", f"{folder}/runs", "--set", "training.num_steps=100000"]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


async def measure(sessions: int, seconds: float, num_steps: int = 20) -> dict[str, Any]:
    """All results, as plain data."""
    rng = random.Random(0)
    steps = rng.sample(range(1, LAST_STEP), num_steps)
    with tempfile.TemporaryDirectory() as folder, Path(folder, "server.log").open("w+b") as log:
        server, base = start_server(folder, log=log)
        training = None
        try:
            wait_until_up(base)
            async with Visitor(base, patience_s=PREPARATION_S) as first:
                # Wait until the shipped runs are in the index.
                while await first.open("replay", f"run={RUNS[0]}") and not first.texts():
                    await asyncio.sleep(1)
            expected = await quiet_answers(base, steps)
            before = resident_mb(server)
            training = start_training(folder)
            findings, until = Findings(), time.monotonic() + seconds
            people = [
                asyncio.create_task(person(base, number, until, steps, expected, findings))
                for number in range(sessions)
            ]
            peak = before
            while not all(task.done() for task in people):
                await asyncio.sleep(1)
                peak = max(peak, resident_mb(server))
            await asyncio.gather(*people)
            after = resident_mb(server)
            died = server.poll() is not None
            trained = last_step(Path(folder, "runs", "beside", "status.json"))
        finally:
            for process in filter(None, (training, server)):
                process.terminate()
                process.wait(timeout=60)
        log.seek(0)
        tracebacks = log.read().decode(errors="replace").count("Traceback")
    return {
        "sessions": sessions,
        "seconds": seconds,
        "waits": waits_of(findings),
        "errors": findings.errors + ["the server has ended"] * died,
        "tracebacks": tracebacks,
        "answers": findings.answers,
        "wrong": findings.wrong,
        "memory_mb": {"before": before, "peak": peak, "after": after},
        "steps_trained": trained,
        "load_average": os.getloadavg()[0],
    }


def last_step(status: Path) -> int:
    try:
        return int(json.loads(status.read_text(encoding="utf-8"))["last_step"])
    except (OSError, ValueError, KeyError):
        return -1


def waits_of(findings: Findings) -> dict[str, dict[str, float]]:
    """Waiting times by kind, where any call succeeded; failed calls are counted as errors."""
    return {name: waits(times) for name, times in sorted(findings.seconds.items()) if times}


def waits(times: list[float]) -> dict[str, float]:
    """Number, median, p95 (nearest rank) and maximum of at least one waiting time."""
    ordered = sorted(times)
    p95 = ordered[max(0, -(-95 * len(ordered) // 100) - 1)]
    return {"count": len(times), "median_s": statistics.median(times), "p95_s": p95, "longest_s": ordered[-1]}


def is_right(result: dict[str, Any]) -> bool:
    return not (result["errors"] or result["wrong"] or result["tracebacks"])


def table(result: dict[str, Any]) -> list[str]:
    lines = [
        f"{result['sessions']} sessions for {result['seconds']:.0f} s while a run trains "
        f"({result['steps_trained']} steps); load average {result['load_average']:.1f}"
    ]
    for name, wait in result["waits"].items():
        lines.append(
            f"{name:<16}{wait['count']:6} times   median {wait['median_s']:6.2f} s   "
            f"p95 {wait['p95_s']:6.2f} s   longest {wait['longest_s']:6.2f} s"
        )
    memory = result["memory_mb"]
    lines.append(
        f"memory {memory['before']:.0f} MB before, {memory['peak']:.0f} at most, {memory['after']:.0f} after"
    )
    lines.append(
        f"{len(result['errors'])} errors, {result['tracebacks']} tracebacks, "
        f"{len(result['wrong'])} of {result['answers']} answers wrong"
    )
    return [*lines, *result["errors"][:10], *result["wrong"][:10]]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    options = parser.parse_args()
    result = asyncio.run(measure(options.sessions, options.seconds))
    print(json.dumps(result, indent=1) if options.json else "\n".join(table(result)))
    return 0 if is_right(result) else 1


if __name__ == "__main__":
    sys.exit(main())
