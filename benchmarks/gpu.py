"""Check every claim about GPUs, in one command of at most five minutes.

    python -m benchmarks.gpu [--device cuda] [--json]

(a) A step on the GPU against the same step on the CPU, for every strategy without random draws. In float32
    counts are equal, except for tokens whose selection depends on a difference below 1e-5 (their number is
    printed), and biases equal those that a CPU computes from the same counts; in bf16 counts and loss are
    close (`BF16_*`).
(b) The host waits for nothing within a step (`torch.cuda.set_sync_debug_mode("error")`), except for the
    strategies listed by `host_waits`. (On GPUs other than compute capability 9.x and 10.x PyTorch's grouped
    product itself waits; this is reported, but not a failure.)
(c) Tokens per second of ours, a dense model and transformers' Mixtral, at `standard` and at a size that
    fills a GPU; the cost of ragged routings.
(d) A short live run as the Train page starts it: switched once, stopped.

The exit code is 1 if a check fails and 2 without a GPU. `--device cpu` runs the same code on a CPU, where (b)
has nothing to check and (c) skips the large size.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from benchmarks import gpu_live, gpu_speed, gpu_steps
from explorer.config.presets import get_preset
from explorer.errors import TrainingError
from explorer.training.devices import device_name, pick_device, quiet_cpu

PARTS = ("steps", "speed", "live")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument(
        "--seconds", type=float, default=280.0, help="(a), (b) and (c) start nothing new after this"
    )
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; repeatable")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    options = parser.parse_args(arguments)
    try:
        device = pick_device(options.device)
    except TrainingError as error:
        print(f"benchmarks.gpu needs a GPU: {error}", file=sys.stderr)
        return 2
    result = measure(device, options)
    print(json.dumps(result, indent=1) if options.json else "\n".join(table(result)))
    return 0 if holds(result) else 1


def measure(device: torch.device, options: argparse.Namespace) -> dict[str, Any]:
    """All requested parts, as plain data."""
    started = time.monotonic()
    parts = options.part or PARTS
    config = get_preset(options.preset)
    result: dict[str, Any] = {
        "device": device_name(device),
        "torch": torch.__version__,
        "capability": ".".join(map(str, torch.cuda.get_device_capability(device)))
        if device.type == "cuda"
        else None,
        "preset": options.preset,
    }
    # The live run goes first: it is short, and a slow GPU must not leave it without time.
    if "live" in parts:
        result["live"] = gpu_live.live_run(options.device, "tiny" if options.preset == "tiny" else "quick")
    with quiet_cpu(1):
        if "steps" in parts:
            result["steps"] = gpu_steps.compare_steps(
                config, options.preset, device, started + options.seconds * 0.6
            )
        if "speed" in parts:
            deadline = started + options.seconds
            sizes = {options.preset: config}
            if device.type == "cuda":
                large = get_preset("paper_1b")
                sizes["paper_1b, one micro-batch"] = replace(
                    large, training=replace(large.training, gradient_accumulation_steps=1)
                )
            result["speed"] = {
                name: gpu_speed.speeds(size, device, options.rounds, deadline) for name, size in sizes.items()
            }
    result["seconds"] = time.monotonic() - started
    return result


def holds(result: dict[str, Any]) -> bool:
    """Whether all measured results are as claimed; speed is not a claim."""
    steps = result.get("steps", {}).values()
    live = result.get("live")
    return all(step["holds"] for step in steps) and (live is None or live["holds"])


def table(result: dict[str, Any]) -> list[str]:
    """The result as lines of text."""
    lines = [f"{result['device']}, torch {result['torch']}, {result['preset']}"]
    if result.get("capability"):
        lines[0] += f", compute capability {result['capability']}"
    if "steps" in result:
        lines += ["", "(a) one step against the CPU, (b) host waits"]
        lines += [gpu_steps.row(name, step) for name, step in result["steps"].items()]
    for name, speeds in result.get("speed", {}).items():
        lines += ["", f"(c) tokens per second, {name}"]
        lines += [gpu_speed.row(arm, speed) for arm, speed in speeds.items()]
    if "live" in result:
        lines += ["", "(d) a live run, switched once and stopped", gpu_live.row(result["live"])]
    return [
        *lines,
        "",
        f"{result['seconds']:.0f} s; {'everything holds' if holds(result) else 'NOT as claimed'}",
    ]


if __name__ == "__main__":
    sys.exit(main())
