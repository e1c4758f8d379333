"""Train a run into a run folder: the wiring of corpus, trainer and recorder.

The only place where training and recording meet; the command line and the benchmarks call it.
"""

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from explorer import __version__
from explorer.config import RunConfig
from explorer.corpus import Corpus, load_corpus
from explorer.errors import TrainingError
from explorer.recording import FolderRecorder, RunFolder, make_run_id, run_info_from_config
from explorer.training import TrainResult, train
from explorer.training.checkpoints import latest_step
from explorer.training.devices import device_name, pick_device

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A recorded run and how it ended."""

    run_id: str
    path: Path
    config: RunConfig
    result: TrainResult


def package_versions() -> dict[str, str]:
    """What the numbers of a run may depend on."""
    found = {"python": platform.python_version(), "explorer": __version__}
    for package in ("torch", "numpy", "tokenizers"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def train_run(
    config: RunConfig,
    runs_dir: Path,
    *,
    run_id: str | None = None,
    name: str = "",
    preset: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[int, int], None] | None = None,
) -> TrainedRun:
    """Train and record a new run; a bad configuration writes nothing."""
    device = pick_device(config.training.device)
    corpus = load_corpus(config.corpus)
    corpus.held_out(
        num_tokens=config.training.final_eval_tokens, sequence_length=config.training.sequence_length
    )
    info = run_info_from_config(
        config,
        run_id=run_id or make_run_id(runs_dir, preset=preset, family=str(config.balancer), seed=config.seed),
        name=name,
        preset=preset,
        corpus=describe_corpus(corpus),
        device=device_name(device),
        versions=package_versions(),
    )
    recorder = FolderRecorder.create(runs_dir, info)
    return _train(config, recorder, corpus, None, should_stop, on_step)


def resume_run(
    path: Path,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[int, int], None] | None = None,
) -> TrainedRun:
    """Go on with a stopped or killed run from its newest checkpoint, or from step 0 without one."""
    folder = RunFolder(path)
    config = RunConfig.from_dict(folder.info.config)
    if folder.status.state in ("finished", "running"):
        raise TrainingError(
            f"{folder.info.run_id}: this run is {folder.status.state}; only a stopped, interrupted or failed "
            "run can be resumed."
        )
    corpus = load_corpus(config.corpus)
    if folder.info.corpus.get("digest") != corpus.digest:
        raise TrainingError(
            f"{folder.info.run_id}: its text (digest {folder.info.corpus.get('digest')}) is not the "
            f"one found now ({corpus.digest}), so it would not be the same run; train a new one."
        )
    start = latest_step(path / CHECKPOINTS)
    recorder = FolderRecorder.resume(path, first_step=start or 0)
    return _train(config, recorder, corpus, start, should_stop, on_step)


def _train(
    config: RunConfig,
    recorder: FolderRecorder,
    corpus: Corpus,
    start: int | None,
    should_stop: Callable[[], bool],
    on_step: Callable[[int, int], None] | None,
) -> TrainedRun:
    checkpoint_dir = recorder.path / CHECKPOINTS
    with recorder:
        result = train(
            config,
            recorder,
            should_stop,
            corpus=corpus,
            checkpoint_dir=checkpoint_dir,
            resume_from=start,
            on_step=on_step,
        )
        recorder.set_throughput(wall_time_s=result.wall_time_s, tokens_per_second=result.tokens_per_second)
        recorder.set_results(result.figures)
        recorder.finish(result.state)
    if result.state == "finished":
        _remove_checkpoints(checkpoint_dir)
    return TrainedRun(run_id=recorder.info.run_id, path=recorder.path.resolve(), config=config, result=result)


def _remove_checkpoints(folder: Path) -> None:
    """A finished run needs no checkpoint; they are by far its largest files."""
    if folder.is_dir():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def describe_corpus(corpus: Corpus) -> dict[str, Any]:
    return {
        "name": corpus.name,
        "digest": corpus.digest,
        "domains": list(corpus.domains),
        "vocab_size": corpus.vocab_size,
    }
