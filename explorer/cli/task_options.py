"""The options of `evaluate`."""

import argparse

from explorer.cli.folder_options import add_run_folders


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which run, which tasks, how many problems."""
    parser.add_argument("run", nargs="?", default="", metavar="RUN", help="id or folder of a run")
    parser.add_argument(
        "--task", action="append", metavar="NAME", help="task to run; may be repeated (default: all tasks)"
    )
    parser.add_argument(
        "--problems", type=int, metavar="N", help="problems per task (default: the task's own number)"
    )
    parser.add_argument(
        "--routes",
        metavar="FILE",
        help="write what the model generates, with the experts of every token, in the form of vLLM's "
        "responses, which `import` reads (--problems: texts per domain, default 16); runs no task unless "
        "--task names one",
    )
    parser.add_argument("--list", action="store_true", help="list the tasks and exit")
    add_run_folders(parser)
