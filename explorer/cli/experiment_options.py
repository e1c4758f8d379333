"""Options of `experiment`."""

import argparse
from pathlib import Path

DESCRIPTION = (
    "Test claims from the literature by training. 'list' shows the experiments; 'run NAME' trains the "
    "missing runs of one (or of 'all', in order of priority) and keeps one row per run; 'report' prints "
    "the verdict on every claim. docs/evidence.md explains how a claim is tested."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Actions and options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_results(actions.add_parser("list", help="list experiments, their runs and their cost"))
    run = actions.add_parser("run", help="train the missing runs of an experiment")
    run.add_argument("experiment", nargs="+", metavar="NAME", help="names of experiments, or all")
    run.add_argument("--seeds", type=int, metavar="N", help="pairs (default: the number fixed in advance)")
    run.add_argument("--jobs", type=int, help="number of runs at a time (default: one per core, at most 2)")
    run.add_argument(
        "--launcher",
        default="local",
        help="local, ray, or print (one command per run) (default: %(default)s)",
    )
    run.add_argument(
        "--slurm", action="store_true", help="with --launcher print: sbatch commands instead of torchrun ones"
    )
    run.add_argument(
        "--runs",
        type=Path,
        default=Path("runs") / "evidence",
        metavar="DIR",
        help="folder of the run folders (default: %(default)s)",
    )
    run.add_argument("--keep", action="store_true", help="keep the run folders once their row is written")
    run.add_argument("--dry-run", action="store_true", help="print the budget and exit")
    _add_results(run)
    collect = actions.add_parser("collect", help="take rows from finished runs that are already recorded")
    collect.add_argument("folder", type=Path, metavar="DIR", help="folder of runs, e.g. data/runs")
    _add_results(collect)
    # For `explorer.evidence.examined`: a configuration on standard input, measurements on standard output.
    examine = actions.add_parser("examine")
    examine.add_argument("what", choices=("leak", "ablation", "gradients"))
    report = actions.add_parser("report", help="print the verdict on every claim")
    report.add_argument("--json", action="store_true", help="print JSON and nothing else")
    report.add_argument("--results", type=Path, metavar="PATH", help="file or folder of rows")


def _add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset",
        dest="scale",
        default="quick",
        help="scale: tiny, quick, standard or long (default: %(default)s)",
    )
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FILE",
        help="file that gets the rows (default: data/evidence/results.parquet)",
    )
