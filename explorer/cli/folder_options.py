"""The option that names the folders whose runs a command reads."""

import argparse
from pathlib import Path


def add_run_folders(parser: argparse.ArgumentParser) -> None:
    """`--runs DIR`, repeatable; without it a command reads `runs` and the shipped runs."""
    parser.add_argument(
        "--runs",
        type=Path,
        action="append",
        metavar="DIR",
        help="runs folder; may be repeated (default: runs and the shipped data/runs)",
    )
