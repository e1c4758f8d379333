"""Several ranks as `torchrun` starts them, forked from one process that has loaded torch.

python forked_ranks.py PROCESSES (SCRIPT | -m MODULE) ARGUMENTS...
"""

import os
import runpy
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from ports import free_port


def run(command: Sequence[str]) -> int:
    """The exit code of a script, or of a module after `-m`."""
    is_module = command[0] == "-m"
    sys.argv = list(command[1:] if is_module else command)
    try:
        if is_module:
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            sys.path.insert(0, str(Path(sys.argv[0]).parent))
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def rank(number: int, size: int, port: int, command: Sequence[str]) -> int:
    """Be this rank; returns its exit code."""
    os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number), "MASTER_PORT": str(port)}
    os.environ |= {"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1"}
    try:
        return run(command)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1


def main() -> int:
    size, command = int(sys.argv[1]), sys.argv[2:]
    import torch.distributed  # noqa: F401 (for all ranks)

    import explorer.training.preloaded  # noqa: F401

    port, ranks = free_port(), []
    for number in range(size):
        if not (child := os.fork()):
            code = rank(number, size, port, command)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        ranks.append(child)
    failed = 0
    while ranks:
        child, status = os.wait()
        ranks.remove(child)
        if os.waitstatus_to_exitcode(status) and not failed:
            # The others would wait for it.
            failed = 1
            for other in ranks:
                os.kill(other, signal.SIGTERM)
    return failed


if __name__ == "__main__":
    sys.exit(main())
