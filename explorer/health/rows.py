"""The rows of one run as the checks read them. S recorded steps, L MoE layers, E experts of a layer.

Two sources give the same rows: a run folder (`read_folder`), and the index (`explorer.queries.health_rows`).
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.config import routings
from explorer.config.rule_text import LossFree, Rule
from explorer.errors import ConfigError
from explorer.recording import RunFolder, RunInfo
from explorer.recording.reader import read_part
from explorer.routing.bias_step import stated_balancer

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MOST_VALUES = 10_000_000
"""Loads that are looked at; of a larger run, blocks of neighbouring steps are."""
BLOCK = 128
"""Recorded steps of such a block: the longest window of a check is 100, and moves need neighbours."""
TRAINING = ("", "training", "unknown")
"""Phases in which something may balance; the empty one is that of a run that a training loop recorded. In
service nothing does: the router is what it is, and a batch is what users send."""


@dataclass(frozen=True, kw_only=True)
class LayerRows:
    """One layer at every step."""

    layer: int
    """The model's own number."""
    steps: Ints
    """[S] ascending."""
    tokens: Ints
    """[S, E] assignments."""
    bias: NDArray[np.float32]
    """[S, E] used in the step, before its update; NaN where NULL, infinite where it was not finite."""
    dropped: Ints
    """[S] assignments beyond capacity."""
    aux_loss: Floats
    """[S] unscaled; NaN where NULL."""

    @property
    def width(self) -> int:
        """E, the experts of this layer."""
        return int(self.tokens.shape[1])

    @cached_property
    def shares(self) -> Floats:
        """[S, E] load over uniform load; NaN where nothing was routed."""
        totals = self.tokens.sum(-1, keepdims=True).astype(np.float64)
        return self.tokens * self.width / np.where(totals > 0, totals, np.nan)

    @cached_property
    def max_vio(self) -> Floats:
        """[S] max / mean - 1."""
        return np.asarray(self.shares.max(-1) - 1)

    @cached_property
    def effective(self) -> Floats:
        """[S] effective experts, exp of the load entropy."""
        p = self.shares / self.width
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.exp(-np.where(p > 0, p * np.log(p), p).sum(-1)))

    @cached_property
    def has_bias(self) -> bool:
        """Whether a bias was recorded at any step."""
        return not bool(np.isnan(self.bias).all())

    def since(self, step: int) -> "LayerRows":
        """The same from `step` on."""
        start = int(np.searchsorted(self.steps, step))
        return self if start == 0 else self.cut(start)

    def cut(self, start: int) -> "LayerRows":
        """The same from the recorded step of this place on; negative: that many from the end."""
        span = slice(start, None)
        return LayerRows(
            layer=self.layer,
            steps=self.steps[span],
            tokens=self.tokens[span],
            bias=self.bias[span],
            dropped=self.dropped[span],
            aux_loss=self.aux_loss[span],
        )


@dataclass(frozen=True, kw_only=True)
class RunRows:
    """What the checks know of one run."""

    info: RunInfo
    loads: pl.DataFrame
    """step, layer, expert, tokens, dropped_tokens, expert_bias."""
    steps: pl.DataFrame
    """step, tokens_seen, aux_loss, bias_update_rate."""
    layer_steps: pl.DataFrame
    """step, layer, aux_loss."""
    sequence_loads: pl.DataFrame
    """Training, the last recorded steps: step, micro_batch, sequence, layer, expert, domain, tokens."""
    domain_loads: pl.DataFrame
    """The last evaluation on held-out text: domain, layer, expert, tokens."""
    is_sampled: bool = False
    """Whether blocks of steps were looked at, and not every one."""
    _layers: list[LayerRows] = field(default_factory=list)

    @property
    def layers(self) -> list[LayerRows]:
        """Every MoE layer with loads, ascending."""
        if not self._layers:
            widths = zip(self.info.layer_numbers, self.info.layer_widths, strict=True)
            parts = self.loads.partition_by("layer", as_dict=True)
            aux = self.layer_steps.partition_by("layer", as_dict=True)
            for layer, width in widths:
                rows = parts.get((layer,))
                if rows is not None:
                    self._layers.append(_layer_rows(layer, width, rows, aux.get((layer,))))
        return self._layers

    @property
    def last_step(self) -> int:
        """The last recorded step with loads, -1 without one."""
        return max((int(layer.steps[-1]) for layer in self.layers), default=-1)

    @property
    def is_imported(self) -> bool:
        """Whether another system wrote the loads."""
        return self.info.source.startswith("imported:")

    @property
    def is_inference(self) -> bool:
        """Whether the loads are those of a served model, which nothing balances."""
        return self.info.phase not in TRAINING

    @cached_property
    def rules(self) -> tuple[Rule, ...] | None:
        """The rules in force at the end; None where run.json does not state them."""
        balancer = stated_balancer(self.info.config, self.info.balancer)
        return None if balancer is None else balancer.rules_at(max(self.last_step, 0))

    @cached_property
    def since(self) -> int:
        """The step from which the rules at the end have been in force."""
        balancer = stated_balancer(self.info.config, self.info.balancer)
        schedule = () if balancer is None else balancer.schedule
        return max((c.step for c in schedule if c.step <= self.last_step), default=0)

    @cached_property
    def routing(self) -> str:
        """How tokens get their experts: token_choice unless run.json says otherwise."""
        model = self.info.config.get("model")
        stated = model.get("routing") if isinstance(model, dict) else None
        try:
            return str(stated or routings.arm_kind(self.info.balancer)[0] or "token_choice")
        except ConfigError:
            return "token_choice"

    @cached_property
    def bias_rule(self) -> LossFree | None:
        """The stated rule that moves the bias by counts."""
        return next((rule for rule in self.rules or () if isinstance(rule, LossFree)), None)

    @cached_property
    def may_be_sign(self) -> bool:
        """Whether moves of the bias may be those of a sign rule: it is stated, or nothing is."""
        if self.rules is None:
            return True
        rule = self.bias_rule
        if rule is None or rule.load_ema or rule.scope != "global_batch":
            return False
        return rule.update_rule == "sign"

    def rates_at(self, steps: Ints) -> Floats:
        """[S] u after each of these steps, as recorded or else as stated; NaN where it is not known."""
        rule = self.bias_rule
        is_known = rule is not None and rule.step_decay == "constant"
        stated = rule.bias_update_rate if rule is not None and is_known else np.nan
        recorded = self.steps.drop_nulls("bias_update_rate")
        if recorded.is_empty():
            return np.full(len(steps), stated)
        place = np.searchsorted(recorded["step"].to_numpy(), steps, side="right") - 1
        rates = recorded["bias_update_rate"].to_numpy()[np.maximum(place, 0)]
        return np.asarray(np.where(place >= 0, rates, stated))

    @cached_property
    def last_rate(self) -> float | None:
        """u at the end; None where it is not known."""
        rate = float(self.rates_at(np.array([self.last_step]))[0])
        return None if np.isnan(rate) else rate


def _layer_rows(layer: int, width: int, rows: pl.DataFrame, aux: pl.DataFrame | None) -> LayerRows:
    steps = rows["step"].unique().sort().to_numpy()
    place = (np.searchsorted(steps, rows["step"].to_numpy()), rows["expert"].to_numpy())
    tokens = np.zeros((len(steps), width), dtype=np.int64)
    bias = np.full((len(steps), width), np.nan, dtype=np.float32)
    dropped = np.zeros((len(steps), width), dtype=np.int64)
    tokens[place] = rows["tokens"].to_numpy()
    bias[place] = rows["expert_bias"].fill_nan(np.inf).to_numpy()
    dropped[place] = rows["dropped_tokens"].fill_null(0).to_numpy()
    losses = np.full(len(steps), np.nan)
    if aux is not None:
        aux_rows = aux.filter(pl.col("step").is_in(steps.tolist())).drop_nulls("aux_loss")
        losses[np.searchsorted(steps, aux_rows["step"].to_numpy())] = aux_rows["aux_loss"].to_numpy()
    return LayerRows(
        layer=layer, steps=steps, tokens=tokens, bias=bias, dropped=dropped.sum(-1), aux_loss=losses
    )


LOADS = ("step", "layer", "expert", "tokens", "dropped_tokens", "expert_bias")
STEPS = ("step", "tokens_seen", "aux_loss", "bias_update_rate")
LAYER_STEPS = ("step", "layer", "aux_loss")
DOMAINS = ("step", "domain", "layer", "expert", "tokens", "split")
SEQUENCES = ("step", "micro_batch", "sequence", "layer", "expert", "domain", "tokens")
SEQUENCE_STEPS = 10
"""The last steps with sequences that are looked at."""


def read_folder(folder: RunFolder) -> RunRows:
    """The rows of a run folder. Raises UnreadableRunError naming a damaged file."""
    info = folder.info
    steps = folder.read("steps", STEPS).sort("step")
    steps_to_read = kept_steps(steps["step"].to_numpy(), sum(info.layer_widths))
    return RunRows(
        info=info,
        loads=folder.read("expert_loads", LOADS)
        if steps_to_read is None
        else _some(folder, "expert_loads", LOADS, steps_to_read),
        steps=steps,
        layer_steps=folder.read("layer_steps", LAYER_STEPS),
        sequence_loads=_sequences(folder),
        domain_loads=last_evaluation(folder.read("eval_loads", DOMAINS)),
        is_sampled=steps_to_read is not None,
    )


def last_evaluation(rows: pl.DataFrame) -> pl.DataFrame:
    """Of `eval_loads` the last evaluation on held-out text."""
    rows = rows.filter(pl.col("split") == "held_out")
    return rows.filter(pl.col("step") == pl.col("step").max()).drop("split", "step")


def kept_steps(steps: Ints, width: int) -> Ints | None:
    """Of the recorded steps those that are looked at; None: all. width: experts of all layers together.

    The first and the last block are among them, and blocks in between at even distances.
    """
    if len(steps) * width <= MOST_VALUES:
        return None
    blocks = max(2, MOST_VALUES // max(1, width * BLOCK))
    starts = np.linspace(0, max(0, len(steps) - BLOCK), blocks).astype(np.int64)
    places = np.unique((starts[:, None] + np.arange(BLOCK)).ravel())
    return np.asarray(steps[places[places < len(steps)]])


def _some(folder: RunFolder, table: str, columns: tuple[str, ...], steps: Ints) -> pl.DataFrame:
    where = pl.col("step").is_in(steps.tolist())
    return pl.concat([read_part(part, columns, where) for part in folder.parts(table)])


def _sequences(folder: RunFolder) -> pl.DataFrame:
    rows = folder.read("sequence_loads", (*SEQUENCES, "split")).filter(pl.col("split") == "train")
    last = rows["step"].unique().sort().tail(SEQUENCE_STEPS)
    return rows.filter(pl.col("step").is_in(last.implode())).drop("split")
