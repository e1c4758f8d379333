"""A callback for Lightning's `Trainer`: it makes the recorder, watches the routers and logs every step.

    Trainer(max_steps=…, callbacks=[lightning_callback("runs/", run_id="olmoe")]).fit(module, data)

A step is an optimizer step; the loss is the mean of what `training_step` returned for its micro-batches.
"""

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from explorer.errors import RunFolderError
from explorer.recording.hooks import RouterWatch, routers_of, watch
from explorer.recording.loop import Recorder
from explorer.recording.tensors import is_tensor

PACKAGES = ("lightning.pytorch", "pytorch_lightning")


def lightning_callback(runs_dir: Path | str, *, watched: str = "", **recorder: Any) -> Any:
    """The callback. recorder: further arguments of `Recorder`, such as run_id, balancer and config.

    watched: name of the module inside the LightningModule whose `forward` gets the attention mask; by default
    its only child with routers, else the LightningModule itself. Raises RunFolderError if Lightning is not
    installed, and when the training begins if the module has no router or the folder cannot be written.
    """

    # The class is made here: its base is a library that nothing else of this package needs.
    class RecorderCallback(_Batches, _base()):  # type: ignore[misc]
        pass

    return RecorderCallback(runs_dir, watched, recorder)


def _base() -> Any:
    """Lightning's `Callback`: of the package that is imported already, else of one that is installed."""
    for name in sorted(PACKAGES, key=lambda name: name not in sys.modules):
        try:
            return importlib.import_module(name).Callback
        except ModuleNotFoundError:
            continue
    raise RunFolderError("lightning_callback needs lightning or pytorch-lightning; install one of them.")


class _Batches:
    """What happens at each event of `Trainer`."""

    def __init__(self, runs_dir: Path | str, watched: str, recorder: Mapping[str, Any]) -> None:
        self._runs_dir, self._watched, self._arguments = runs_dir, watched, dict(recorder)
        self._recorder: Recorder | None = None
        self._watcher: RouterWatch | None = None
        self._steps = 0
        self._loss: Any = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._watcher = watch(_watched(pl_module, self._watched))
        steps = trainer.max_steps if trainer.max_steps > 0 else 0
        self._recorder = Recorder(
            self._runs_dir, **{"num_steps": steps, **self._watcher.sizes, **self._arguments}
        )
        self._steps = trainer.global_step

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After a micro-batch; `global_step` grows with the last one of a step."""
        # Lightning has divided each loss by the number of micro-batches of a step.
        loss: Any = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if is_tensor(loss):
            self._loss = loss.detach() if self._loss is None else self._loss + loss.detach()
        if self._recorder is None or self._watcher is None or trainer.global_step == self._steps:
            return
        self._steps = trainer.global_step
        self._recorder.log(
            self._steps - 1, **self._watcher.take(), lm_loss=self._loss, learning_rate=_rate(trainer)
        )
        self._loss = None

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._end("finished", "")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        state = "failed" if isinstance(exception, Exception) else "interrupted"
        self._end(state, f"{type(exception).__name__}: {exception}")

    def _end(self, state: str, message: str) -> None:
        if self._recorder is not None and self._watcher is not None:
            self._recorder.finish(state, message)
            self._watcher.close()
        self._recorder = self._watcher = None


def _watched(module: Any, name: str) -> Any:
    """The module inside of a LightningModule whose forward pass is watched."""
    if name:
        return module.get_submodule(name)
    holders = [child for child in module.children() if routers_of(child)]
    return holders[0] if len(holders) == 1 else module


def _rate(trainer: Any) -> float | None:
    """The learning rate of the first group of the first optimizer."""
    groups = trainer.optimizers[0].param_groups if trainer.optimizers else []
    return groups[0]["lr"] if groups else None
