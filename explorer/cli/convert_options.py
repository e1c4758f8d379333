"""The options of `convert`."""

import argparse
from pathlib import Path

from explorer.cli.folder_options import add_run_folders


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add them to the parser of the command."""
    parser.add_argument("run", nargs="?", metavar="RUN", help="id or folder of a run")
    parser.add_argument("--to", metavar="F", help="format; --list names them")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="file to write")
    parser.add_argument("--steps", metavar="FIRST-LAST", help="only these steps (default: all)")
    parser.add_argument(
        "--ep-size", type=int, default=1, metavar="N", help="for placements: GPUs per layer (default: 1)"
    )
    parser.add_argument(
        "--redundant-experts",
        type=int,
        default=0,
        metavar="N",
        help="for placements: extra replicas per layer",
    )
    parser.add_argument(
        "--num-layers", type=int, default=0, metavar="N", help="for SGLang: layers of the whole model"
    )
    parser.add_argument("--list", action="store_true", help="list the formats and exit")
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")
    add_run_folders(parser)
