"""The schema of a run folder's documents.

Folders may be written by other software, and disks flip bits: every document is validated against
these classes when it is read, `run.json` also when it is created. Unknown fields are ignored.
The description of a field is the rule that its error quotes.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

LARGEST_STEP = 2**53 - 1
"""Steps are plotted on axes of doubles, which hold integers exactly up to this."""
LARGEST_ATTEMPT = 2**31 - 1
MAX_LAYERS = 10_000
MAX_EXPERTS = 2**20
MAX_CELLS = 2**22
"""Maximum number of experts over all MoE layers. Every step has a row per expert, so with many more a
single step would fill a reader's memory."""
COMPACTED_FILE = r"[a-z_]{1,60}-g[0-9]{1,16}\.parquet"
MAX_DEPTH = 64
"""Nesting of a document: well below the limit of a recursive JSON reader or writer."""
SHOWN = 60
"""Maximum length of a wrong value quoted in its error."""

_Step = Annotated[int, Meta(ge=-1, le=LARGEST_STEP, description=f"a whole number from -1 to {LARGEST_STEP}")]
_Count = Annotated[int, Meta(ge=0, le=LARGEST_STEP, description=f"a whole number from 0 to {LARGEST_STEP}")]
_Attempt = Annotated[
    int, Meta(ge=0, le=LARGEST_ATTEMPT, description=f"a whole number from 0 to {LARGEST_ATTEMPT}")
]
MAX_TEXT = 10_000
_Text = Annotated[str, Meta(max_length=MAX_TEXT, description=f"a text of at most {MAX_TEXT} characters")]
_Number = Annotated[float | None, Meta(description="a number or null")]
_Object = Annotated[dict[str, Any], Meta(description="an object")]
_FileName = Annotated[str, Meta(pattern=rf"^{COMPACTED_FILE}\Z")]


class Corpus(msgspec.Struct, frozen=True):
    """The text of a run."""

    name: str | None = None
    digest: str | None = None
    domains: list[str] | None = None
    vocab_size: _Count | None = None


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of run.json, `format_version` aside."""

    run_id: _Text
    name: _Text
    num_moe_layers: Annotated[
        int, Meta(ge=0, le=MAX_LAYERS, description=f"a whole number from 0 to {MAX_LAYERS}")
    ]
    num_experts: Annotated[
        int, Meta(ge=0, le=MAX_EXPERTS, description=f"a whole number from 0 to {MAX_EXPERTS}")
    ]
    top_k: Annotated[int, Meta(ge=0, le=MAX_EXPERTS, description=f"a whole number from 0 to {MAX_EXPERTS}")]
    tokens_per_step: _Count
    num_steps: _Count
    layers: Annotated[
        list[_Count] | None, Meta(description="a list of layer numbers, one per MoE layer, or null")
    ] = None
    experts_per_layer: Annotated[
        list[_Count] | None, Meta(description="a list of numbers of experts, one per MoE layer, or null")
    ] = None
    created_at: _Text
    source: _Text
    preset: Annotated[_Text | None, Meta(description="a text of at most 10000 characters, or null")]
    config: _Object
    config_digest: _Text
    pair_key: _Text
    balancer: _Text
    balancer_label: _Text
    balancer_family: _Text
    count_scope: _Text
    seed: Annotated[
        Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None,
        Meta(description="a whole number from -2^63 to 2^63 - 1, or null"),
    ]
    corpus: Annotated[
        Corpus,
        Meta(description="an object with name and digest (text), domains (list of texts) and vocab_size"),
    ]
    versions: _Object
    device: _Text
    unit: _Text = ""
    scope: _Text = ""
    phase: _Text = ""


class StatusFile(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of status.json; all are optional."""

    state: Annotated[
        Literal["running", "finished", "stopped", "interrupted", "failed"],
        Meta(description="running, finished, stopped, interrupted or failed"),
    ] = "running"
    message: _Text = ""
    host: _Text = ""
    pid: Annotated[int, Meta(ge=0, le=2**32 - 1, description="a process id of at least 0")] = 0
    process_started: Annotated[_Text | None, Meta(description="a text or null")] = None
    heartbeat: Annotated[float, Meta(ge=-1e12, le=1e12, description="seconds since the epoch")] = 0.0
    last_step: _Step = -1
    committed_step: _Step = -1
    attempt: _Attempt = 0
    num_steps: _Count = 0
    wall_time_s: _Number = None
    tokens_per_second: _Number = None
    results: _Object = msgspec.field(default_factory=dict)


class ManifestFile(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of manifest.json."""

    generation: _Count
    files: Annotated[
        dict[str, list[_FileName]],
        Meta(description="an object: for each table a list of file names such as steps-g1.parquet"),
    ]
    attempt: _Attempt
    last_step: _Step
    committed_step: _Step | None = None


class AttemptLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of attempts.json."""

    attempt: _Attempt
    first_step: _Count
    started_at: _Text = ""


class AttemptsFile(msgspec.Struct, frozen=True):
    """attempts.json as the only field of an object, since rules belong to fields."""

    attempts: Annotated[
        list[AttemptLine],
        Meta(description="a list of {attempt, first_step, started_at} with whole numbers of at least 0"),
    ]


S = TypeVar("S", bound=msgspec.Struct)


class BrokenRule(Exception):
    """A field breaks its rule: `field = value: must be …`, without file and remedy."""


def parsed(kind: type[S], data: Any) -> S:
    """`data`, decoded JSON, as the class; raises BrokenRule for the first field that does not fit it."""
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise BrokenRule(_sentence(kind, data, str(error))) from error


def depth_of(data: Any) -> int:
    """Nesting depth of lists and objects in decoded JSON; 0 for a plain value. Does not recurse."""
    depth, level = 0, [data]
    while level := [value for value in level if isinstance(value, dict | list)]:
        depth += 1
        level = [v for value in level for v in (value.values() if isinstance(value, dict) else value)]
    return depth


def json_text(value: Any) -> str:
    """A value as truncated JSON text."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _sentence(kind: type[msgspec.Struct], data: Any, reason: str) -> str:
    """msgspec names the place as `$.field…` and a missing field in backticks."""
    _, _, place = reason.partition(" - at `$")
    name = place.lstrip(".").split(".")[0].split("[")[0].rstrip("`")
    if not name:
        if "missing required field" in reason:
            return f"lacks {reason.split('`')[1]}"
        return f"holds {json_text(data)} where an object was expected"
    value = data.get(name) if isinstance(data, Mapping) else data
    return f"{name} = {json_text(value)}: must be {_rules(kind)[name]}"


def _rules(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Field name -> its description, of the outermost annotation that has one."""
    return {name: _description(hint) for name, hint in get_type_hints(kind, include_extras=True).items()}


def _description(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        for meta in reversed(get_args(hint)[1:]):
            if isinstance(meta, Meta) and meta.description:
                return meta.description
    return next((text for part in get_args(hint) if (text := _description(part))), "")
