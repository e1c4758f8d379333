"""Routes that serving engines return with a response: integer arrays [tokens, layers, K].

vLLM: `prompt_routed_experts` per response and `routed_experts` per choice, as nested lists, as an object
{"encoding": "base64", "dtype", "shape", "data"} or as base64 of a `.npy` file. SGLang: base64 of flat int32.
Some servers encode twice. One JSON document, JSON lines, or a `.npy` array. The last generated token has no
row; buffers are filled with zeros, so a dense layer looks like all traffic to expert 0. Token ids
come from `prompt_token_ids` and `token_ids` (or `output_ids`) beside the arrays, where a server returns them.
Prompt rows are prefill, the others decode: `split=phases` writes one run for each.
"""

import base64
import binascii
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.importers import response_phases as phased
from explorer.importers.arrays import checked_size, id_array, number_array
from explorer.importers.formats.arrays import looks_like_routes
from explorer.importers.formats.moe_routes import ROUTE_OPTIONS, make_tally, tally_runs
from explorer.importers.load_checks import live_layers
from explorer.importers.npy import MAGIC, npy_from_bytes, open_npy
from explorer.importers.options import Options
from explorer.importers.report import Report
from explorer.importers.response_phases import PHASES, SERVING, lengths_of, prompt_rows
from explorer.importers.routes import Ids, LayerTally, report_routes
from explorer.importers.source import Source
from explorer.importers.token_names import TokenLog, token_id_list
from explorer.importers.trace import ForeignRun, zeros
from explorer.recording.folder_schema import MAX_DEPTH, MAX_LAYERS, depth_of
from explorer.wording import counted

KEYS = ("prompt_routed_experts", "routed_experts")
PROMPT_IDS = ("prompt_token_ids", "input_ids")
OUTPUT_IDS = ("token_ids", "output_ids", "output_token_ids")
ALPHABET = re.compile(rb"[A-Za-z0-9+/=\s]+")
SPLITS = ("no", "starts", PHASES)
DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64")


@dataclass
class _Seen:
    """Observations on the records beside their routes."""

    records: int = 0
    nested: int = 0
    repeated_rows: int = 0
    responses: int = 0
    tokens: int = 0
    rows: int = 0
    short: int = 0
    """Responses whose usage was stated, their tokens and rows, and those that lack more than the last row."""
    before: Ids | None = None
    is_prompt: bool = False
    """Whether the array before is that of a prompt."""
    log: TokenLog = field(default_factory=TokenLog)


@dataclass(frozen=True)
class _Field:
    """A field of routed experts, and the token ids stated around it."""

    key: str
    value: Any
    prompt: Any = None
    output: Any = None
    document: Any = None
    """The response, or what holds it."""


class RoutedExperts:
    """The format's reader."""

    name = "routed_experts"
    label = "routed experts of responses"
    options = (*ROUTE_OPTIONS, "num_layers")

    def matches(self, source: Source) -> bool:
        if source.head.startswith(MAGIC):
            return looks_like_routes(open_npy(source))
        return b'routed_experts"' in source.head

    def read(self, source: Source, options: Options) -> Iterator[ForeignRun]:
        report = Report()
        num_experts = options.num_experts()
        is_split = options.choice("split", SPLITS) == PHASES
        phases: dict[str, list[LayerTally]] = {}
        seen = _Seen()
        num_layers = top_k = 0
        for place, ids_TLK, about in self._arrays(source, options, seen):
            if not phases:
                num_layers, top_k = ids_TLK.shape[1], options.top_k(ids_TLK.shape[2]) or 1
                zeros(num_layers, num_experts)
                for phase in (phased.PREFILL, phased.DECODE) if is_split else (SERVING,):
                    phases[phase] = [make_tally(options, num_experts, SPLITS) for _ in range(num_layers)]
            if ids_TLK.shape[1:] != (num_layers, top_k):
                rule = f"has the shape {ids_TLK.shape}, which must be [tokens, {num_layers}, {top_k}]"
                raise source.problem(place, rule)
            ids = _without_repeated(id_array(ids_TLK, num_experts, source, place), seen)
            parts = {SERVING: ids}
            if is_split:
                parts = _by_phase(ids, len(ids_TLK), about, seen, source, place)
            if about is not None:
                is_needed = not is_split and not phases[SERVING][0].sample.is_full
                _log(about, len(ids_TLK), len(ids), seen, is_needed=is_needed)
            for phase, rows in parts.items():
                for layer, tally in enumerate(phases[phase]):
                    tally.add(rows[:, layer])
        if not phases:
            raise source.problem("", f"holds no {' or '.join(KEYS)}")
        _report_seen(seen, report)
        for phase, tallies in phases.items():
            if is_split and not tallies[0].rows:
                continue
            own = Report()
            own.entries = list(report.entries)
            for run in self._runs(tallies, top_k, seen, source, options, own):
                yield replace(run, phase=phase, part=phase) if is_split else run

    def _runs(
        self,
        tallies: list[LayerTally],
        top_k: int,
        seen: _Seen,
        source: Source,
        options: Options,
        report: Report,
    ) -> Iterator[ForeignRun]:
        for tally in tallies:
            tally.finish()
        counts = [tally.num_kept for tally in tallies]
        if not any(counts):
            report_routes(tallies[0], 0, top_k, source, report)
        live = live_layers(counts, range(len(tallies)), source, report)
        for layer in live:
            report_routes(tallies[layer], layer, top_k, source, report)
        yield from tally_runs(
            [tallies[layer] for layer in live], live, top_k, options, report, {}, SERVING, seen.log
        )

    def _arrays(
        self, source: Source, options: Options, seen: _Seen
    ) -> Iterator[tuple[str, NDArray[Any], _Field | None]]:
        if source.head.startswith(MAGIC):
            array = open_npy(source)
            if array.ndim != 3:
                raise source.problem("", f"has the shape {array.shape}, which must be [tokens, layers, K]")
            for first in range(0, len(array), 65_536):
                yield f"rows from {first}", np.asarray(array[first : first + 65_536]), None
            return
        for place, document in _records(source):
            rows = 0
            for about in _checked_fields(document, source, place):
                where = f"{place}, {about.key}"
                seen.records += 1
                array = _decoded(about.value, source, where, options, seen)
                rows += len(array)
                yield where, array, replace(about, document=document)
            _compare_usage(document, rows, seen)


def _records(source: Source) -> Iterator[tuple[str, Any]]:
    """(place, JSON) of a document or of each line."""
    first = next(source.lines(), (0, b""))[1]
    is_lines = first.rstrip().endswith(b"}") and first.lstrip().startswith(b"{")
    if not is_lines:
        yield "the document", source.document()
        return
    for number, line in source.lines():
        place = f"line {number}"
        yield place, source.decoded(line, place)


def _checked_fields(value: Any, source: Source, place: str) -> list[_Field]:
    if depth_of(value) > MAX_DEPTH:
        raise source.problem(place, f"is nested more than {MAX_DEPTH} levels deep")
    return list(_fields(value))


def _fields(value: Any, prompt: Any = None, output: Any = None) -> Iterator[_Field]:
    """Every field of routed experts in a response, at any depth; prompt, output: token ids stated above."""
    if isinstance(value, list):
        for one in value:
            if isinstance(one, dict | list):
                yield from _fields(one, prompt, output)
    elif isinstance(value, dict):
        prompt = next((value[name] for name in PROMPT_IDS if name in value), prompt)
        output = next((value[name] for name in OUTPUT_IDS if name in value), output)
        for key in KEYS:
            if value.get(key) is not None:
                yield _Field(key, value[key], prompt, output)
        for key, one in value.items():
            if key not in (*KEYS, *PROMPT_IDS, *OUTPUT_IDS) and isinstance(one, dict | list):
                yield from _fields(one, prompt, output)


def _log(about: _Field, rows: int, num_kept: int, seen: _Seen, *, is_needed: bool) -> None:
    """Note the sequence of an array of routes: what is generated continues its prompt, where that has rows of
    its own. num_kept: the last rows, without turns that were there before."""
    prompt, output = (token_id_list(ids) if is_needed else None for ids in (about.prompt, about.output))
    both = None if prompt is None or output is None else np.concatenate([prompt, output])
    is_prompt, is_rest = about.key == KEYS[0], seen.is_prompt and num_kept == rows
    # A whole array lacks the row of the last token, or not even that.
    candidates = (prompt,) if is_prompt else (output,) if is_rest else (both, output, prompt)
    ids = next((one for one in candidates if one is not None and 0 <= len(one) - rows <= 1), None)
    ids = None if ids is None else ids[rows - num_kept :]
    seen.log.add(num_kept, ids, offset=rows - num_kept, continues=not is_prompt and is_rest)
    seen.is_prompt = is_prompt


def _by_phase(
    ids: Ids, rows: int, about: _Field | None, seen: _Seen, source: Source, place: str
) -> dict[str, Ids]:
    """The rows of prefill and of decode. rows: of the array, before its repeated turns were dropped."""
    is_prompt = about is not None and about.key == KEYS[0]
    is_rest = about is not None and seen.is_prompt and rows == len(ids)
    lengths = [] if about is None else lengths_of(about.prompt, about.output, about.document)
    number = rows if is_prompt else 0 if is_rest else prompt_rows(rows, lengths)
    if number is None:
        raise source.problem(place, phased.UNKNOWN, "leave out --option split=phases")
    number = max(0, number - (rows - len(ids)))
    return {phased.PREFILL: ids[:number], phased.DECODE: ids[number:]}


def _decoded(value: Any, source: Source, place: str, options: Options, seen: _Seen) -> NDArray[Any]:
    """[T, L, K] of any of the wire forms."""
    if isinstance(value, list):
        return number_array(value, 3, source, place)
    if isinstance(value, str):
        return _of_text(value, source, place, options, seen)
    if isinstance(value, dict) and isinstance(value.get("data"), str):
        dtype, shape = value.get("dtype"), value.get("shape")
        if dtype not in DTYPES or not isinstance(shape, list) or len(shape) != 3:
            raise source.problem(place, f"must have a shape of 3 numbers and a dtype of {', '.join(DTYPES)}")
        sizes = [checked_size(size, "shape", source, place, 2**40) for size in shape]
        data = _bytes(value["data"], source, place, seen)
        return _flat(data, np.dtype(dtype), sizes, source, place)
    raise source.problem(place, "must be nested lists, base64, or an object with base64 in data")


def _of_text(text: str, source: Source, place: str, options: Options, seen: _Seen) -> NDArray[Any]:
    """base64 of a `.npy` file, or of flat int32 as SGLang sends it."""
    data = _bytes(text, source, place, seen)
    if data.startswith(MAGIC):
        array = npy_from_bytes(data, source)
        if array.ndim != 3:
            raise source.problem(place, f"has the shape {array.shape}, which must be [tokens, layers, K]")
        return array
    num_layers, top_k = options.integer("num_layers", least=1, most=MAX_LAYERS), options.top_k()
    if num_layers is None:
        raise options.question("num_layers", "how many layers its flat arrays have", "48")
    if top_k is None:
        raise options.question("top_k", "how many experts a token takes", "8")
    rows, rest = divmod(len(data), 4 * num_layers * top_k)
    if rest or not rows:
        rule = f"has {len(data):,} bytes, which must be a multiple of {num_layers} layers × {top_k} × 4 bytes"
        raise source.problem(place, rule, "correct --option num_layers or top_k")
    return _flat(data, np.dtype("<i4"), [rows, num_layers, top_k], source, place)


def _bytes(text: str, source: Source, place: str, seen: _Seen) -> bytes:
    """Decoded base64; decoded twice if the result is base64 again."""
    try:
        data = base64.b64decode(text, validate=True)
        if len(data) >= 16 and ALPHABET.fullmatch(data):
            data = base64.b64decode(data, validate=True)
            seen.nested += 1
    except (binascii.Error, ValueError) as error:
        raise source.problem(place, f"is not base64 ({error})") from error
    return data


def _flat(data: bytes, dtype: np.dtype[Any], shape: list[int], source: Source, place: str) -> NDArray[Any]:
    if math.prod(shape) * dtype.itemsize != len(data):
        rule = f"says that its shape is {shape} of {dtype}, but has {len(data):,} bytes"
        raise source.problem(place, rule)
    return np.frombuffer(data, dtype=dtype.newbyteorder("<")).reshape(shape)


def _without_repeated(ids_TLK: Ids, seen: _Seen) -> Ids:
    """Drop the rows of the previous record if this one begins with all of them: servers that return the
    whole conversation with every turn would count its first turns repeatedly."""
    before, seen.before = seen.before, ids_TLK
    if before is None or len(before) < 2 or len(ids_TLK) <= len(before):
        return ids_TLK
    if not np.array_equal(ids_TLK[: len(before)], before):
        return ids_TLK
    seen.repeated_rows += len(before)
    return ids_TLK[len(before) :]


def _compare_usage(document: Any, rows: int, seen: _Seen) -> None:
    """Rows of a response against the tokens that its `usage` states."""
    usage = document.get("usage") if isinstance(document, dict) else None
    if not isinstance(usage, dict) or not rows:
        return
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if isinstance(prompt, int) and isinstance(completion, int) and 0 <= prompt + completion < 2**31:
        seen.responses += 1
        seen.tokens += prompt + completion
        seen.rows += rows
        seen.short += prompt + completion - rows > 1


def _report_seen(seen: _Seen, report: Report) -> None:
    if seen.records:
        report.note(
            "last_rows",
            f"{counted(seen.records, 'array')} of routes. The last generated token of a response has no "
            "row: it was never fed back.",
            arrays=seen.records,
        )
    if seen.short:
        report.warning(
            "rows_missing",
            f"{counted(seen.short, 'response')} of {seen.responses:,} lack more than the row of their last "
            f"token: {seen.rows:,} rows for {seen.tokens:,} tokens. Prefixes from a cache and slots that "
            "were too few lack theirs.",
            responses=seen.short,
            rows=seen.rows,
            tokens=seen.tokens,
        )
    if seen.nested:
        report.note(
            "nested_base64",
            f"{counted(seen.nested, 'array')} were encoded twice in base64.",
            arrays=seen.nested,
        )
    if seen.repeated_rows:
        report.left_out(
            "repeated_turns",
            f"{counted(seen.repeated_rows, 'row')} repeat the whole record before them, as servers do that "
            "return the conversation with every turn: each is counted once.",
            rows=seen.repeated_rows,
        )


FORMATS = (RoutedExperts(),)
