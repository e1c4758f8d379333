"""The lines between a training and the process that started it (`train --control-stdin`).

Its standard input takes one JSON object per line; its standard error answers in sentences:

{"command": "stop"}
{"command": "switch", "rules": "loss_free:u=0.003"}
control: switch to 'loss_free:u=0.003': from step 12 on loss-free u=0.003.
"""

import json

PREFIX = "control: "
"""Prefix of the answers of a training to its commands."""
SWITCH = "switch to "


def stop_line() -> bytes:
    """Ask a training to end after its current step."""
    return _line({"command": "stop"})


def switch_line(rules: str) -> bytes:
    """Ask a training to go on under other rules, in the text form of `explorer.config.rule_text`."""
    return _line({"command": "switch", "rules": rules})


def _line(message: dict[str, str]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def switch_answers(output: str) -> list[str]:
    """The answers to switches in a training's standard error, in order, without the prefix."""
    lines = output.splitlines()
    return [line.removeprefix(PREFIX) for line in lines if line.startswith(PREFIX + SWITCH)]
