"""Why a child process did not finish its run, from its own error message where there is one."""

import signal

SENTENCE = "explorer train: "
"""Prefix of a child's error message."""


def reason(output: str, code: int) -> str:
    """Its error message, or the signal that ended it, or the last line of its traceback.

    output: its standard error. code: as `subprocess` has it, minus the signal where one ended the process.
    """
    if code == 0:
        return "the training was stopped; resume it with train --resume, or delete it."
    lines = [line for line in output.splitlines() if line.strip()]
    for line in reversed(lines):
        if line.startswith(SENTENCE):
            return line.removeprefix(SENTENCE)
    if code < 0:
        remedy = "; the machine may have run out of memory" if -code == getattr(signal, "SIGKILL", 9) else ""
        return f"the training was ended by {_signal_name(-code)}{remedy}."
    last = lines[-1] if lines else "it gave no reason"
    return f"the training ended with code {code}: {last}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
