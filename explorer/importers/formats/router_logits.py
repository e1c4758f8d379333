"""Router logits of transformers: `torch.save` of `outputs.router_logits`, a tuple with one tensor [batch ×
sequence, E] per MoE layer, or of a dictionary with `router_logits` and `attention_mask`.

The routes are the K largest logits of each row. That is the selection of softmax routers without a bias; a
router with a bias or groups selects differently, and its routes cannot be recomputed from these logits.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.importers.formats.moe_routes import ROUTE_OPTIONS, make_tally, tally_runs
from explorer.importers.kept_routes import shared_rows
from explorer.importers.options import Options
from explorer.importers.report import Report
from explorer.importers.routes import LayerTally, report_routes
from explorer.importers.source import Source
from explorer.importers.tensors import is_torch_file, load_tensors
from explorer.importers.trace import ForeignRun, zeros
from explorer.wording import counted


class RouterLogits:
    """The format's reader."""

    name = "router_logits"
    label = "transformers router logits"
    options = ROUTE_OPTIONS

    def matches(self, source: Source) -> bool:
        return is_torch_file(source) and "router_logits" in source.name + source.head.decode("latin-1")

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        report = Report()
        layers, mask = _tensors(load_tensors(source), source)
        top_k = options.top_k()
        if top_k is None:
            raise options.question("top_k", "how many experts a token takes", "8")
        experts = options.num_experts(layers[0].shape[1])
        zeros(len(layers), experts)
        if top_k > experts:
            raise source.problem("", f"has {experts} experts, fewer than top_k ({top_k})", "correct top_k")
        is_kept = _token_rows(mask, len(layers[0]), source, report)
        _report_values(layers, report)
        tallies = []
        for layer, logits in enumerate(layers):
            tally = make_tally(options, experts)
            tally.add(np.argsort(-logits[is_kept], axis=1, kind="stable")[:, :top_k].astype(np.int64))
            tally.finish()
            report_routes(tally, layer, top_k, source, report)
            tallies.append(tally)
        numbers = list(range(len(layers)))
        for run in tally_runs(tallies, numbers, top_k, options, report, {}, phase="unknown"):
            yield _with_logits(run, tallies, layers, is_kept)


def _with_logits(
    run: ForeignRun, tallies: list[LayerTally], layers: list[NDArray[Any]], is_kept: NDArray[np.bool_]
) -> ForeignRun:
    """The same run; the tokens whose routes are kept have their logits, too."""
    steps = list(run.steps)
    routes = steps[0].routes
    if routes is None:
        return run
    row_P = shared_rows([tally.sample for tally in tallies])[: len(routes.ids_PLK)]
    logits = np.stack([values[is_kept][row_P] for values in layers], axis=1).astype(np.float32)
    steps[0] = replace(steps[0], routes=replace(routes, logits_PLE=logits))
    return replace(run, steps=steps)


def _tensors(value: Any, source: Source) -> tuple[list[NDArray[Any]], NDArray[Any] | None]:
    mask = None
    if isinstance(value, Mapping):
        mask, value = value.get("attention_mask"), value.get("router_logits")
    layers = [value] if isinstance(value, np.ndarray) else value
    if not isinstance(layers, list) or not layers:
        raise source.problem("", "must hold router_logits, one tensor per MoE layer")
    for number, logits in enumerate(layers):
        place = f"layer {number}"
        if not isinstance(logits, np.ndarray) or logits.ndim != 2 or not logits.size:
            raise source.problem(place, "must be a tensor [batch × sequence, experts]")
        if logits.shape != layers[0].shape or logits.dtype.kind != "f" or not np.isfinite(logits).all():
            raise source.problem(place, f"must hold finite logits of the shape {layers[0].shape}")
    return layers, mask


def _token_rows(mask: Any, rows: int, source: Source, report: Report) -> NDArray[np.bool_]:
    """Mask of the rows that are not padding."""
    if mask is None:
        report.assumption(
            "no_mask", "The file has no attention_mask: padding, if there was any, is counted as tokens."
        )
        return np.ones(rows, dtype=bool)
    if not isinstance(mask, np.ndarray) or mask.size != rows:
        raise source.problem("attention_mask", f"must have one value for each of the {rows:,} rows")
    is_kept: NDArray[np.bool_] = mask.reshape(-1) != 0
    if not is_kept.all():
        report.left_out(
            "padding",
            f"{counted(int((~is_kept).sum()), 'row')} of padding, by the attention mask.",
            rows=int((~is_kept).sum()),
        )
    return is_kept


def _report_values(layers: list[NDArray[Any]], report: Report) -> None:
    report.assumption(
        "recomputed_routes",
        "Routes are recomputed as the K largest logits of each row: right for softmax routers, wrong for a "
        "router with a selection bias or expert groups.",
    )
    softmaxed = sum(
        bool((logits >= 0).all() and np.allclose(logits.sum(axis=1), 1, atol=1e-2)) for logits in layers
    )
    if softmaxed:
        report.warning(
            "softmaxed",
            f"In {counted(softmaxed, 'layer')} the values of a row are at least 0 and add up to 1: these are "
            "probabilities, not logits. The routes are the same.",
            layers=softmaxed,
        )
    tied = sum(int((logits.max(axis=1) == logits.min(axis=1)).sum()) for logits in layers)
    if tied:
        report.warning(
            "constant_logits",
            f"{counted(tied, 'row')} have one logit for all experts: ties decided their routes.",
            rows=tied,
        )


FORMATS = (RouterLogits(),)
