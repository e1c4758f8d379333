"""Train a run into a run folder: wire up corpus, trainer and recorder.

The only place where training and recording meet; the command line and the benchmarks call it.
"""

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from explorer import __version__
from explorer.config.limits import check_memory, machine_memory
from explorer.config.run import RunConfig
from explorer.corpus import Corpus, load_corpus
from explorer.errors import TrainingError
from explorer.model import MoETransformer
from explorer.model.balancers import CombinedBalancer
from explorer.recording import RunFolder, RunInfo, make_run_id, run_info_from_config
from explorer.recording.run_writer import RunWriter
from explorer.records.records import LoadRecord, NullRecorder, Record, Recorder
from explorer.training import TrainResult, kept_model, train
from explorer.training.checkpoints import latest_step
from explorer.training.devices import device_name, pick_device
from explorer.training.ranks import Ranks, check_shares, process_group
from explorer.training.switching import NO_SWITCHES, Switches

CHECKPOINTS = "checkpoints"
LoadsListener = Callable[[RunInfo, LoadRecord], None]
"""Called with the loads of every recorded step."""


class _HeardRecorder(RunWriter):
    """Passes loads on once they are recorded."""

    listener: LoadsListener | None = None

    def record(self, record: Record) -> None:
        super().record(record)
        if self.listener is not None and isinstance(record, LoadRecord):
            self.listener(self.info, record)


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A recorded run and its outcome."""

    run_id: str
    path: Path
    config: RunConfig
    """The final configuration, including rule changes requested during the run."""
    result: TrainResult


def package_versions() -> dict[str, str]:
    """Versions of packages that may affect a run's results."""
    versions = {"python": platform.python_version(), "explorer": __version__}
    for package in ("torch", "numpy", "tokenizers"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def train_run(
    config: RunConfig,
    runs_dir: Path,
    *,
    run_id: str | None = None,
    name: str = "",
    preset: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[int, int], None] | None = None,
    switches: Switches = NO_SWITCHES,
    on_loads: LoadsListener | None = None,
    keep_model: bool = False,
) -> TrainedRun:
    """Train and record a new run; an invalid configuration writes nothing.

    `keep_model` leaves the finished model in the folder, for `explorer.tasks`.

    Under `torchrun` every process calls this, and rank 0 records.
    """
    device = pick_device(config.training.device)
    _check_fits(config, device.type)
    with process_group(device) as ranks:
        check_shares(config, ranks)
        corpus = load_corpus(config.corpus)
        corpus.held_out(
            num_tokens=config.training.final_eval_tokens, sequence_length=config.training.sequence_length
        )
        recorder = None
        if ranks.is_first:
            info = run_info_from_config(
                config,
                run_id=run_id or make_run_id(runs_dir, preset=preset, family=config.arm, seed=config.seed),
                name=name,
                preset=preset,
                corpus=describe_corpus(corpus),
                device=device_name(device) + (f" × {ranks.size}" if ranks.size > 1 else ""),
                versions=package_versions(),
            )
            recorder = _HeardRecorder.create(runs_dir, info)
            recorder.listener = on_loads
        path = ranks.broadcast(recorder.path.resolve() if recorder else None)
        return _train(config, recorder, path, corpus, None, ranks, should_stop, on_step, switches, keep_model)


def resume_run(
    path: Path,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[int, int], None] | None = None,
    switches: Switches = NO_SWITCHES,
    on_loads: LoadsListener | None = None,
    keep_model: bool = False,
) -> TrainedRun:
    """Resume a stopped or killed run from its newest checkpoint, or from step 0 without one."""
    config = RunConfig.from_dict(RunFolder(path).info.config)
    device = pick_device(config.training.device)
    _check_fits(config, device.type)
    with process_group(device) as ranks:
        check_shares(config, ranks)
        corpus = load_corpus(config.corpus)
        recorder, start = None, None
        if ranks.is_first:
            _check_resumable(RunFolder(path), corpus)
            start = latest_step(path / CHECKPOINTS)
            recorder = _HeardRecorder.resume(path, first_step=start or 0)
            recorder.listener = on_loads
        start = ranks.broadcast(start)
        return _train(
            config, recorder, path.resolve(), corpus, start, ranks, should_stop, on_step, switches, keep_model
        )


def _check_fits(config: RunConfig, kind: str) -> None:
    if kind == "cpu":
        check_memory(config, machine_memory())


def _check_resumable(folder: RunFolder, corpus: Corpus) -> None:
    if folder.status.state in ("finished", "running"):
        raise TrainingError(
            f"{folder.info.run_id}: this run is {folder.status.state}; only a stopped, interrupted or failed "
            "run can be resumed."
        )
    if folder.info.corpus.get("digest") != corpus.digest:
        raise TrainingError(
            f"{folder.info.run_id}: its text (digest {folder.info.corpus.get('digest')}) is not the "
            f"one found now ({corpus.digest}), so it would not be the same run; train a new one."
        )


def _train(
    config: RunConfig,
    recorder: RunWriter | None,
    path: Path,
    corpus: Corpus,
    start: int | None,
    ranks: Ranks,
    should_stop: Callable[[], bool],
    on_step: Callable[[int, int], None] | None,
    switches: Switches,
    keep_model: bool,
) -> TrainedRun:
    """Train into the folder at `path`; `recorder` is None in the processes that do not record."""

    def keep(model: MoETransformer, _: CombinedBalancer, final: RunConfig) -> None:
        if ranks.is_first:
            kept_model.save(path / kept_model.FILE, model, final)

    def run(recorder_or_none: Recorder) -> TrainResult:
        return train(
            config,
            recorder_or_none,
            should_stop,
            corpus=corpus,
            checkpoint_dir=path / CHECKPOINTS,
            resume_from=start,
            on_step=on_step,
            ranks=ranks,
            switches=switches,
            on_finished=keep if keep_model else None,
        )

    if recorder is None:
        result = run(NullRecorder())
    else:
        with recorder:
            result = run(recorder)
            recorder.set_throughput(
                wall_time_s=result.wall_time_s, tokens_per_second=result.tokens_per_second
            )
            recorder.set_results(result.figures)
            recorder.finish(result.state)
        if result.state == "finished":
            _remove_checkpoints(path / CHECKPOINTS)
    return TrainedRun(run_id=path.name, path=path, config=result.config, result=result)


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
