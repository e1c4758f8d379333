"""Wall time of `python -m explorer compare --preset quick`, from reading the corpus to the table.

    python -m benchmarks.quick [--rounds 1]

The tokenizer cache is emptied first, so the time includes training the tokenizer, and evaluation.
Goal: at most 60 s on two cores, 40 s if they are idle.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=1)
    for number in range(parser.parse_args().rounds):
        with tempfile.TemporaryDirectory() as folder:
            command = [
                sys.executable,
                "-m",
                "explorer",
                "compare",
                "--preset",
                "quick",
                "--runs",
                f"{folder}/runs",
            ]
            start = time.perf_counter()
            done = subprocess.run(
                command,
                env={**os.environ, "XDG_CACHE_HOME": folder},
                capture_output=True,
                text=True,
                check=True,
            )
            print(f"round {number}: {time.perf_counter() - start:.1f} s; goal 60 s\n{done.stdout}")


if __name__ == "__main__":
    main()
