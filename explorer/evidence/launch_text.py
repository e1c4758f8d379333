"""One shell command per run, for machines that this process cannot start training runs on.

The run folders are collected by `experiment run` afterwards: a finished folder is only measured.
"""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from explorer.evidence.experiment import Run
from explorer.files import write_whole

CONFIGS = "configs"


def commands(runs: Sequence[Run], folder: Path, slurm: bool = False) -> list[str]:
    """Commands that train these runs into `folder`; their configurations are written to `folder/configs`."""
    (folder / CONFIGS).mkdir(parents=True, exist_ok=True)
    return [_command(run, folder, slurm) for run in runs]


def _command(run: Run, folder: Path, slurm: bool) -> str:
    config = folder / CONFIGS / f"{run.run_id}.json"
    write_whole(config, json.dumps(run.config, indent=1).encode(), sync_name=False)
    options = [
        "-m",
        "explorer",
        "train",
        "--config",
        str(config),
        "--run-id",
        run.run_id,
        "--runs",
        str(folder),
    ]
    torchrun = shlex.join(["torchrun", "--standalone", "--nproc_per_node", "1", *options])
    if not slurm:
        return torchrun
    return shlex.join(
        ["sbatch", "--job-name", run.run_id, "--ntasks", "1", "--cpus-per-task", "1", "--wrap", torchrun]
    )
