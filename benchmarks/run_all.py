"""Run every benchmark in turn; each prints what it measures and its goal."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = (
    "training",
    "balancers",
    "recording",
    "importers",
    "quick",
    "simulate",
    "store",
    "views",
    "app",
    "interactions",
    "drags",
    "load",
    "gpu",
    "leak",
    "buffered_scope",
    "hard_layer",
)


def main() -> None:
    for script in SCRIPTS:
        print(f"\n== {script}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{script}"], cwd=ROOT, check=False)


if __name__ == "__main__":
    main()
