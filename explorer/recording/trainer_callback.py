"""A callback for transformers' `Trainer`: it makes the recorder, watches the routers and logs every step.

    Trainer(model=model, args=args, …, callbacks=[trainer_callback("runs/", run_id="olmoe")])

The loss and the gradient norm are those that `Trainer` logs itself, so they stand at steps that it logs
(`logging_steps`), where the loss is the mean since the line before.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.recording.hooks import RouterWatch, watch
from explorer.recording.loop import Recorder
from explorer.recording.loop_info import kept_config

if TYPE_CHECKING:
    from transformers import TrainerCallback

LOGGED = {"lm_loss": "loss", "grad_norm": "grad_norm", "learning_rate": "learning_rate"}
"""Argument of `Recorder.log` -> the key in the logs of `Trainer`."""


def trainer_callback(runs_dir: Path | str, **recorder: Any) -> "TrainerCallback":
    """The callback. recorder: further arguments of `Recorder`, such as run_id, balancer and config.

    Sizes and layer names come from the model. Raises RunFolderError when the training begins, if the model
    has no router or the folder cannot be written.
    """
    from transformers import TrainerCallback

    # The class is made here: its base is a library that nothing else of this package needs.
    class RecorderCallback(_Steps, TrainerCallback):
        pass

    return RecorderCallback(runs_dir, recorder)


class _Steps:
    """What happens at each event of `Trainer`. A step is held back until Trainer may have logged it."""

    def __init__(self, runs_dir: Path | str, recorder: Mapping[str, Any]) -> None:
        self._runs_dir, self._arguments = runs_dir, dict(recorder)
        self._recorder: Recorder | None = None
        self._watcher: RouterWatch | None = None
        self._pending: dict[str, Any] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self._end("failed", "another training began before the end of this one")
        own = {key: value for key, value in self._arguments.items() if key != "config"}
        config = {**_plain_config(model), **kept_config(self._arguments.get("config"))}
        self._watcher = watch(model)
        defaults = {"seed": getattr(args, "seed", None), "num_steps": max(0, state.max_steps)}
        self._recorder = Recorder(self._runs_dir, config=config, **{**defaults, **self._watcher.sizes, **own})

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._write()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After the optimizer step, and before its log line; `global_step` counts it already."""
        if self._watcher is not None:
            self._pending = {"step": state.global_step - 1, **self._watcher.take()}

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any
    ) -> None:
        if self._pending is None or self._pending["step"] != state.global_step - 1:
            return
        values = {ours: (logs or {}).get(key) for ours, key in LOGGED.items()}
        self._pending |= {ours: value for ours, value in values.items() if value is not None}

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._write()
        self._end("finished")

    def _end(self, state: str, message: str = "") -> None:
        """`Trainer` does not say that training failed: in a notebook, the next one comes first."""
        if self._recorder is not None:
            self._recorder.finish(state, message)
        if self._watcher is not None:
            self._watcher.close()
        self._recorder = self._watcher = self._pending = None

    def _write(self) -> None:
        if self._recorder is not None and self._pending is not None:
            self._recorder.log(**self._pending)
        self._pending = None


def _plain_config(model: Any) -> dict[str, Any]:
    """The model's configuration, as far as JSON holds it."""
    to_dict = getattr(getattr(model, "config", None), "to_dict", dict)
    values: dict[Any, Any] = to_dict()
    kinds = (str, int, float, bool, list, tuple, Mapping, type(None))
    return {str(key): value for key, value in values.items() if isinstance(value, kinds)}
