"""Cost of recording relative to a training step. Goal: at most 2 %.

    python -m benchmarks.recording [--preset standard] [--steps 150]

A training run with a recorder that writes a run folder; the total time spent in the recorder's methods is
divided by the time of the steps themselves.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from explorer.config.presets import get_preset
from explorer.corpus import load_corpus
from explorer.recording import FolderRecorder, run_info_from_config
from explorer.training import train


class Timed:
    """Forward every call and sum the time spent."""

    def __init__(self, recorder: Any) -> None:
        self._recorder, self.seconds = recorder, 0.0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._recorder, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - start

        return call


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--steps", type=int, default=150)
    options = parser.parse_args()
    config = get_preset(options.preset)
    config = replace(config, training=replace(config.training, num_steps=options.steps))
    config = config.with_setting("balancer", "loss_free")
    corpus = load_corpus(config.corpus)
    with tempfile.TemporaryDirectory() as folder:
        info = run_info_from_config(config, run_id="benchmark")
        with FolderRecorder.create(Path(folder), info) as recorder:
            timed = Timed(recorder)
            result = train(config, timed, corpus=corpus)
            during = timed.seconds
            recorder.finish("finished")
    step_ms = result.wall_time_s / options.steps * 1e3
    print(
        f"step {step_ms:.1f} ms, recording {during / options.steps * 1e3:.3f} ms: "
        f"{during / result.wall_time_s:.2%} of the step time; goal 2 %"
    )


if __name__ == "__main__":
    main()
