"""Megatron-LM: the router trace (`router_trace_rank{r}.jsonl`) and the tokens per expert (`rank{r}.jsonl`).

Trace, one line per (step, layer, micro-batch): `step, stage, block, mtp_idx, layer, rank, num_tokens, topk,
top_indices [num_tokens][topk]`. Lines of one step are summed over micro-batches and ranks.
Tokens per expert: `iter, block, mtp_idx, layer, tpe [micro-batches][local experts]`: the tokens received by a
rank's experts. A folder holds one file per rank; steps ascend within a file.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from explorer.errors import shortened
from explorer.importers.arrays import count_array, id_array, number_array
from explorer.importers.kept_routes import KEPT_OPTIONS, FirstRoutes, most_tokens
from explorer.importers.options import Options
from explorer.importers.report import Report
from explorer.importers.source import Source, files_matching
from explorer.importers.trace import Counts, ForeignRun, LoadStep, model_layers, zeros
from explorer.recording.folder_schema import LARGEST_STEP, MAX_LAYERS
from explorer.wording import counted

TRACE_FILE = r"router_trace_rank\d+\.jsonl(\.gz|\.xz)?"
TOKENS_FILE = r"rank\d+\.jsonl(\.gz|\.xz)?"
Key = tuple[int, int]
"""(0, layer) of the decoder, (1 + mtp_idx, layer) of a multi-token-prediction block."""


class TraceLine(msgspec.Struct):
    """A line of the router trace."""

    step: int
    layer: int
    top_indices: list[list[int]]
    block: str = "decoder"
    mtp_idx: int | None = None
    rank: int = 0
    topk: int | None = None


class TokensLine(msgspec.Struct):
    """A line of the tokens per expert."""

    iter: int
    layer: int
    tpe: list[list[float]]
    block: str = "decoder"
    mtp_idx: int | None = None


class Head(msgspec.Struct):
    """The fields of either line that the first pass needs."""

    layer: int
    step: int | None = None
    iter: int | None = None
    block: str = "decoder"
    mtp_idx: int | None = None


@dataclass
class _Seen:
    """Results of the second pass."""

    lines: int = 0
    recomputed: int = 0
    missing: int = 0


class MegatronTrace:
    """Router traces of one or all ranks."""

    name = "megatron_trace"
    label = "Megatron router trace"
    options = KEPT_OPTIONS

    def matches(self, source: Source) -> bool:
        return bool(files_matching(source, TRACE_FILE)) or b'"top_indices"' in source.head

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        files = files_matching(source, TRACE_FILE) or [source]
        num_experts = options.num_experts()
        report, seen = Report(), _Seen()
        keys = _keys(files)
        zeros(len(keys), num_experts)
        first = _decode(next(files[0].lines())[1], TRACE, files[0], "line 1")
        top_k = options.top_k(first.topk or (len(first.top_indices[0]) if first.top_indices else None))
        place = {key: position for position, key in enumerate(keys)}
        _report_blocks(keys, report)
        _report_ranks(files, report)
        lines = _merged(files, TRACE, lambda line: line.step)
        yield ForeignRun(
            steps=_trace_steps(lines, place, num_experts, seen, report, options, top_k),
            layers=_layers(keys, options),
            num_experts=num_experts,
            top_k=top_k,
            report=report,
            phase="training",
            scope="global" if len(files) > 1 else "rank",
        )


class MegatronTokens:
    """Tokens that the experts of each rank received."""

    name = "megatron_tokens"
    label = "Megatron tokens per expert"
    options = ("expert_parallel_size",)

    def matches(self, source: Source) -> bool:
        if b'"tpe"' in source.head:
            return True
        files = files_matching(source, TOKENS_FILE)
        return bool(files) and b'"tpe"' in files[0].head

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        files = files_matching(source, TOKENS_FILE) or [source]
        num_experts = options.num_experts()
        report = Report()
        keys = _keys(files)
        zeros(len(keys), num_experts)
        first = _decode(next(files[0].lines())[1], TOKENS, files[0], "line 1")
        local = len(first.tpe[0]) if first.tpe else 0
        if not local or num_experts % local:
            rule = f"has {local} local experts per rank, which must divide num_experts ({num_experts})"
            raise files[0].problem("line 1, tpe", rule, "correct --option num_experts")
        parallel = options.integer("expert_parallel_size", least=1) or num_experts // local
        if parallel * local != num_experts:
            rule = f"has {local} local experts × {parallel} ranks, which must be num_experts ({num_experts})"
            raise files[0].problem("line 1, tpe", rule, "correct --option expert_parallel_size")
        report.assumption(
            "expert_layout",
            f"Rank r holds the experts (r mod {parallel}) × {local} to (r mod {parallel}) × {local} + "
            f"{local - 1}, the order of expert parallelism that Megatron has by default.",
            ranks=len(files),
        )
        _report_blocks(keys, report)
        _report_ranks(files, report)
        report.note("received", "Counts are tokens received after dispatch; padding may be among them.")
        if len(files) < parallel:
            report.warning(
                "ranks_missing",
                f"{counted(len(files), 'rank')} of at least {parallel}: experts of the others are absent.",
                ranks=len(files),
            )
        place = {key: position for position, key in enumerate(keys)}
        lines = _merged(files, TOKENS, lambda line: line.iter)
        yield ForeignRun(
            steps=_token_steps(lines, place, num_experts, local, parallel),
            layers=_layers(keys, options),
            num_experts=num_experts,
            top_k=options.top_k(),
            report=report,
            phase="training",
            scope="global" if len(files) >= parallel else "rank",
        )


TRACE, TOKENS, HEAD = (msgspec.json.Decoder(kind) for kind in (TraceLine, TokensLine, Head))
Line = tuple[int, int, int, Source, Any]
"""step, number of the file, number of the line, file, decoded line."""


def _decode(line: bytes, decoder: "msgspec.json.Decoder[Any]", source: Source, place: str) -> Any:
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise source.problem(place, f"is no line of this format ({shortened(str(error))})") from error


def _key(line: Any, source: Source, place: str) -> Key:
    mtp = 0 if line.block == "decoder" else 1 + (line.mtp_idx or 0)
    if not 0 <= line.layer < MAX_LAYERS or not 0 <= mtp < MAX_LAYERS:
        raise source.problem(place, f"layer must be a number from 0 to {MAX_LAYERS - 1}")
    return mtp, line.layer


def _keys(files: list[Source]) -> list[Key]:
    """Every layer of every file, decoder first."""
    keys: set[Key] = set()
    for source in files:
        for number, line in source.lines():
            place = f"line {number}"
            keys.add(_key(_decode(line, HEAD, source, place), source, place))
        if len(keys) > MAX_LAYERS:
            raise source.problem("", f"has more than {MAX_LAYERS} layers")
    if not keys:
        raise files[0].problem("", "holds no line")
    return sorted(keys)


def _layers(keys: list[Key], options: Options) -> tuple[int, ...]:
    """Numbers of the layers; blocks of multi-token prediction follow the decoder's."""
    decoder = [layer for mtp, layer in keys if mtp == 0]
    base = max(decoder, default=-1) + 1
    numbers = decoder + [base + n for n in range(len(keys) - len(decoder))]
    return model_layers(options, numbers)


def _merged(
    files: list[Source], decoder: "msgspec.json.Decoder[Any]", step_of: Callable[[Any], int]
) -> Iterator[Line]:
    """The lines of all files in order of their steps."""

    def lines(position: int, source: Source) -> Iterator[Line]:
        before = -1
        for number, data in source.lines():
            place = f"line {number}"
            line = _decode(data, decoder, source, place)
            step = step_of(line)
            if not before <= step <= LARGEST_STEP:
                raise source.problem(place, f"step {step} comes after step {before}", "sort the file by step")
            before = step
            yield step, position, number, source, line

    return heapq.merge(*(lines(n, source) for n, source in enumerate(files)), key=lambda line: line[:3])


def _by_step(lines: Iterator[Line]) -> Iterator[tuple[int, list[Line]]]:
    group: list[Line] = []
    for line in lines:
        if group and line[0] != group[0][0]:
            yield group[0][0], group
            group = []
        group.append(line)
    if group:
        yield group[0][0], group


def _trace_steps(
    lines: Iterator[Line],
    place: dict[Key, int],
    num_experts: int,
    seen: _Seen,
    report: Report,
    options: Options,
    top_k: int | None,
) -> Iterator[LoadStep]:
    has_mtp = any(mtp for mtp, _ in place)
    first = FirstRoutes(0 if has_mtp else most_tokens(options), len(place))
    for number_of_step, (step, group) in enumerate(_by_step(lines)):
        tokens = zeros(len(place), num_experts)
        before: set[tuple[Key, int, int]] = set()
        for _, position, number, source, line in group:
            where = f"line {number}"
            key = _key(line, source, where)
            seen.lines += 1
            if not line.top_indices:
                continue
            array = number_array(line.top_indices, 2, source, f"{where}, top_indices")
            ids = id_array(array, num_experts, source, f"{where}, top_indices")
            mark = (key, position, hash(ids.tobytes()))
            if mark in before and ids.size > 16:
                seen.recomputed += 1
                continue
            before.add(mark)
            valid_ids = ids[ids >= 0]
            seen.missing += ids.size - valid_ids.size
            tokens[place[key]] += np.bincount(valid_ids, minlength=num_experts)
            if not number_of_step:
                first.add(place[key], ids)
        routes = None if number_of_step else first.routes(top_k, options, report)
        yield LoadStep(step=step, tokens_LE=tokens, routes=routes)
    if seen.recomputed:
        report.left_out(
            "recomputed",
            f"{seen.recomputed:,} of {seen.lines:,} lines repeat the routes of the same step, layer and "
            "rank, as a recomputed forward pass does: each is counted once.",
            lines=seen.recomputed,
        )
    if seen.missing:
        report.left_out(
            "missing_rows", f"{seen.missing:,} assignments with a negative id are left out.", ids=seen.missing
        )


def _token_steps(
    lines: Iterator[Line], place: dict[Key, int], num_experts: int, local: int, parallel: int
) -> Iterator[LoadStep]:
    for step, group in _by_step(lines):
        tokens = zeros(len(place), num_experts)
        for _, position, number, source, line in group:
            where = f"line {number}, tpe"
            counts: Counts = count_array(number_array(line.tpe, 2, source, where), source, where)
            if counts.shape[1] != local:
                raise source.problem(where, f"has {counts.shape[1]} local experts, which must be {local}")
            rank = _rank(source, position)
            first = (rank % parallel) * local
            tokens[place[_key(line, source, where)], first : first + local] += counts.sum(axis=0)
        yield LoadStep(step=step, tokens_LE=tokens)


def _rank(source: Source, position: int) -> int:
    digits = "".join(filter(str.isdecimal, source.name.partition(".")[0]))
    return int(digits) if 0 < len(digits) < 8 else position


def _report_blocks(keys: list[Key], report: Report) -> None:
    blocks = sum(mtp > 0 for mtp, _ in keys)
    if blocks:
        report.note(
            "mtp_blocks",
            f"{counted(blocks, 'layer')} of multi-token prediction are numbered after the decoder's "
            "layers; their rows are later tokens than those of the decoder, so no routes per token are kept.",
            layers=blocks,
        )


def _report_ranks(files: list[Source], report: Report) -> None:
    if len(files) == 1:
        report.assumption(
            "single_rank",
            "One file of one rank: loads of a rank are not those of the whole batch. Import the folder "
            "with the files of all ranks.",
        )
    else:
        report.note("ranks", f"{len(files)} files, one per rank, are summed.", ranks=len(files))


FORMATS = (MegatronTrace(), MegatronTokens())
