"""Dumps of SGLang's expert distribution recorder (`torch.save`), in all modes.

stat, stat_approx: `logical_count` [passes, layers, E], summed over ranks. per_pass, per_token: `records`,
each with `forward_pass_id`, `rank` and `global_physical_count` [layers, P], and
`last_physical_to_logical_map` [layers, P]. Records of one pass are summed over ranks (a folder holds one
file per rank), physical experts are added to their logical ones. per_token records of older versions
have `topk_ids_of_layer` [layers, tokens, 8] instead, padded with -1.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.importers.arrays import count_array, id_array
from explorer.importers.formats.sglang_json import snapshot_runs
from explorer.importers.kept_routes import KEPT_OPTIONS, LayerSample, keep_routes, most_tokens
from explorer.importers.options import Options
from explorer.importers.source import FolderSource, Source, files_matching
from explorer.importers.tensors import is_torch_file, load_tensors
from explorer.importers.token_names import TokenLog, token_id_list
from explorer.importers.trace import Counts, ForeignRun, zeros
from explorer.recording.folder_schema import LARGEST_STEP

MOST_CELLS = 1 << 28
RANK_FILE = r"expert_distribution_recorder_.*_\d+\.pt"
PHYSICAL = "global_physical_count"
TO_LOGICAL = "last_physical_to_logical_map"


class SglangRecorder:
    """One `.pt` file of the recorder."""

    name = "sglang_recorder"
    label = "SGLang expert distribution recorder"
    options = KEPT_OPTIONS

    def matches(self, source: Source) -> bool:
        if isinstance(source, FolderSource):
            return bool(files_matching(source, RANK_FILE))
        signs = (b"logical_count", b"forward_pass_id")
        is_named = "expert_distribution" in source.name
        return is_torch_file(source) and (is_named or any(sign in source.head for sign in signs))

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        dump = _dump(files_matching(source, RANK_FILE) or [source])
        if "logical_count" in dump:
            counts = _array(dump["logical_count"], (2, 3), source, "logical_count")
            counts = count_array(counts, source, "logical_count")
            yield from snapshot_runs(counts if counts.ndim == 3 else counts[None], source, options)
        elif isinstance(dump.get("records"), list) and dump["records"]:
            counts = _passes(dump["records"], dump.get(TO_LOGICAL), source, options)
            for run in snapshot_runs(counts, source, options):
                yield _with_routes(run, counts, dump["records"], options)
        else:
            raise source.problem("", "must hold logical_count, or records of forward passes")


def _dump(files: Sequence[Source]) -> Mapping[str, Any]:
    """The dictionary of one file, or the records of the files of all ranks together."""
    whole: dict[str, Any] = {}
    for source in files:
        dump = load_tensors(source)
        if not isinstance(dump, Mapping):
            raise source.problem("", "must hold a dictionary, as the recorder dumps it")
        records = dump.get("records")
        if len(files) > 1 and not isinstance(records, list):
            raise source.problem("", "has no records to be joined with other ranks", "import the file alone")
        whole = {**dump, "records": [*whole.get("records", []), *(records or [])]}
    return whole


def _array(value: Any, dims: Sequence[int], source: Source, place: str) -> NDArray[Any]:
    if not isinstance(value, np.ndarray) or value.ndim not in dims or not value.size:
        raise source.problem(place, f"must be a tensor with {' or '.join(map(str, dims))} dimensions")
    return value


def _passes(records: Sequence[Any], to_logical: Any, source: Source, options: Options) -> Counts:
    """[N, L, E] of the forward passes in order of their ids."""
    passes: dict[int, Counts] = {}
    map_LP: Counts | None = None
    if to_logical is not None:
        map_LP = count_array(_array(to_logical, (2,), source, TO_LOGICAL), source, TO_LOGICAL)
    for number, record in enumerate(records):
        place = f"record {number}"
        if not isinstance(record, Mapping):
            raise source.problem(place, "must be a dictionary")
        key = record.get("forward_pass_id")
        if isinstance(key, bool) or not isinstance(key, int) or not 0 <= key <= LARGEST_STEP:
            raise source.problem(place, "forward_pass_id must be a whole number of at least 0")
        counts = _logical(record, map_LP, source, place, options)
        if key in passes and passes[key].shape != counts.shape:
            raise source.problem(place, f"has the shape {counts.shape}, unlike the other ranks of the pass")
        passes[key] = counts if key not in passes else passes[key] + counts
        if len(passes) * counts.size > MOST_CELLS:
            raise source.problem(place, f"brings more than {MOST_CELLS:,} counts", "dump more often")
    shapes = {counts.shape for counts in passes.values()}
    if len(shapes) > 1:
        raise source.problem("", "has passes with different numbers of layers or experts")
    return np.stack([passes[key] for key in sorted(passes)])


def _logical(
    record: Mapping[str, Any], map_LP: Counts | None, source: Source, place: str, options: Options
) -> Counts:
    """[L, E] of one record."""
    if PHYSICAL in record:
        counts = count_array(_array(record[PHYSICAL], (2,), source, place), source, place)
        if map_LP is None:
            raise source.problem("", f"lacks {TO_LOGICAL}, so physical experts cannot be named")
        if map_LP.shape != counts.shape:
            raise source.problem(place, f"has the shape {counts.shape}, unlike {TO_LOGICAL} {map_LP.shape}")
        return to_logical(counts, map_LP, options.num_experts(int(map_LP.max()) + 1), source)
    ids = _array(record.get("topk_ids_of_layer"), (3,), source, f"{place}, topk_ids_of_layer")
    experts = options.num_experts()
    ids = id_array(ids, experts, source, place)
    counts = zeros(len(ids), experts)
    for layer, rows in enumerate(ids):
        valid_rows = rows[rows >= 0]
        counts[layer] = np.bincount(valid_rows, minlength=experts)
    return counts


def _with_routes(
    run: ForeignRun, counts_NLE: Counts, records: Sequence[Mapping[str, Any]], options: Options
) -> ForeignRun:
    """The same run, with the routes of its first tokens where the records are of single tokens.

    A record is one sequence: the tokens of a forward pass on one rank.
    """
    records = sorted(records, key=lambda one: (one["forward_pass_id"], _rank(one)))
    live = np.flatnonzero(counts_NLE.any(axis=(0, 2))).tolist()
    samples, log = [LayerSample(most_tokens(options)) for _ in live], TokenLog()
    for record in records:
        ids_LTK = record.get("topk_ids_of_layer")
        if not isinstance(ids_LTK, np.ndarray):
            return run
        ids_LTK = np.maximum(ids_LTK.astype(np.int64), -1)
        # The recorder always has 8 slots; those beyond K are -1.
        ids_LTK = ids_LTK[:, :, : options.top_k() or ids_LTK.shape[2]]
        for sample, layer in zip(samples, live, strict=True):
            good_T = (ids_LTK[layer] >= 0).all(axis=1)
            sample.add(log.rows + np.flatnonzero(good_T), ids_LTK[layer][good_T], ())
        log.add(ids_LTK.shape[1], token_id_list(record.get("input_ids")))
    routes = keep_routes(samples, log, log.rows, (), run.top_k, options, run.report)
    steps = iter(run.steps)
    return replace(run, steps=chain([replace(next(steps), routes=routes)], steps))


def _rank(record: Mapping[str, Any]) -> int:
    rank = record.get("rank")
    return rank if type(rank) is int else 0


def to_logical(physical_LP: Counts, map_LP: Counts, num_experts: int, source: Source) -> Counts:
    """Counts of physical experts (replicas) added to their logical ones, [L, P] -> [L, E]."""
    if map_LP.size and int(map_LP.max()) >= num_experts:
        rule = f"maps to expert {int(map_LP.max())}, which must be below num_experts ({num_experts})"
        raise source.problem("the map of physical experts", rule)
    logical = zeros(len(physical_LP), num_experts)
    rows = np.arange(len(physical_LP))[:, None]
    np.add.at(logical, (rows, map_LP), physical_LP)
    return logical


FORMATS = (SglangRecorder(),)
