"""A run's description: the content of run.json."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from explorer.config.run import RunConfig
from explorer.errors import RunFolderError, UnreadableRunError
from explorer.recording.files import plain, read_object
from explorer.recording.folder_schema import MAX_DEPTH, BrokenRule, RunFile, json_text, parsed
from explorer.recording.layout import Layout, layers_problem, sizes_problem
from explorer.recording.stated_rules import StatedRules, complete, family_of
from explorer.recording.values import Refused, preview, to_array, to_whole, whole_array

FORMAT_VERSION = 1
TRAINED = "trained"
"""Source of the runs of our own loop."""
RUN_FILE = "run.json"
REPLICAS = "replicas"
"""The unit of a placement, whose numbers are replicas per expert and no loads."""
INT32, INT64 = 2**31 - 1, 2**63 - 1
SIZES = {
    "num_moe_layers": INT32,
    "num_experts": INT32,
    "top_k": INT32,
    "tokens_per_step": INT64,
    "num_steps": INT64,
}
"""Integer fields of run.json -> the largest value that the index holds."""
RUN_ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def utc_now() -> str:
    """Now, as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """Every field of run.json except `format_version`; `docs/run_format.md` describes them.

    Raises RunFolderError when `run_id` is not safe in a URL or a size is not an integer.
    """

    run_id: str
    name: str
    num_moe_layers: int
    """L, the MoE layers."""
    num_experts: int
    """E, routed experts per MoE layer, or in the widest."""
    top_k: int
    """K, routed experts per token."""
    tokens_per_step: int
    """Tokens (not assignments) in one optimizer step."""
    num_steps: int
    """Planned optimizer steps."""
    layers: tuple[int, ...] | None = None
    """The model's own number of each MoE layer, ascending; None: 0 to L - 1."""
    experts_per_layer: tuple[int, ...] | None = None
    """Routed experts of each MoE layer where they differ; None: E in all of them."""
    created_at: str = field(default_factory=utc_now)
    source: str = TRAINED
    preset: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    config_digest: str = ""
    pair_key: str = ""
    balancer: str = ""
    """Text form of the rule; missing ones of these four fields follow from the others (`stated_rules`)."""
    balancer_label: str = ""
    balancer_family: str = ""
    count_scope: str = ""
    seed: int | None = None
    corpus: dict[str, Any] = field(default_factory=dict)
    """name, digest, domains, vocab_size."""
    versions: dict[str, str] = field(default_factory=dict)
    device: str = ""
    unit: str = ""
    """Unit of an imported run's counts, e.g. `assignments`; empty for a run of our own loop."""
    scope: str = ""
    """Scope of the counts: global, rank or physical."""
    phase: str = ""
    """training, prefill, decode, …"""

    def __post_init__(self) -> None:
        self._complete_rules()
        if not isinstance(self.run_id, str) or not RUN_ID_PATTERN.fullmatch(self.run_id):
            raise RunFolderError(
                f"run_id = {self.run_id!r}: must be 1 to 100 of the characters A-Z a-z 0-9 . _ - and start "
                "with a letter or digit; rename it."
            )
        for name, largest in SIZES.items():
            object.__setattr__(self, name, _whole(getattr(self, name), largest))
        if self.seed is not None:
            object.__setattr__(self, "seed", _whole(self.seed, INT64, least=-INT64))
        for name in ("layers", "experts_per_layer"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _sizes(name, getattr(self, name)))
        try:
            levels = MAX_DEPTH - 1
            document = {
                f.name: plain(getattr(self, f.name), levels=levels, name=f.name) for f in fields(self)
            }
            parsed(RunFile, document)
        except BrokenRule as error:
            raise RunFolderError(f"{error}; correct it.") from error
        sizes = self.num_moe_layers, self.num_experts
        problem = layers_problem(self.layers, self.experts_per_layer, *sizes)
        problem = problem or sizes_problem(*sizes, self.top_k, sum(self.layer_widths))
        if problem is not None:
            field_name, value, rule = problem
            raise RunFolderError(f"{field_name} = {preview(value)}: {rule}; describe the run as it is.")

    @property
    def layer_numbers(self) -> tuple[int, ...]:
        """The model's own number of each MoE layer, as in the tables."""
        return tuple(range(self.num_moe_layers)) if self.layers is None else self.layers

    @property
    def is_even(self) -> bool:
        """Whether all layers have the same number of experts."""
        return self.experts_per_layer is None or set(self.experts_per_layer) <= {self.num_experts}

    @property
    def layer_widths(self) -> tuple[int, ...]:
        """Routed experts of each MoE layer."""
        widths = self.experts_per_layer
        return (self.num_experts,) * self.num_moe_layers if widths is None else widths

    @property
    def layout(self) -> Layout:
        """L, E, K and the shape of each layer; by default layers are numbered from 0 and equally wide."""
        return Layout(self.layer_numbers, self.layer_widths, self.num_experts, self.top_k)

    def _complete_rules(self) -> None:
        names = {"balancer": "balancer", "balancer_label": "label", "balancer_family": "family"}
        names["count_scope"] = "scope"
        stated = {short: getattr(self, name) for name, short in names.items()}
        if all(isinstance(value, str) for value in stated.values()):
            rules = complete(StatedRules(**stated))
            for name, short in names.items():
                object.__setattr__(self, name, getattr(rules, short))

    def to_dict(self) -> dict[str, Any]:
        """The content of run.json."""
        return {"format_version": FORMAT_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "RunInfo":
        """Build from the content of run.json; unknown fields are ignored.

        Raises UnreadableRunError for a newer format and for a missing field.
        """
        version = data.get("format_version")
        if isinstance(version, bool) or not isinstance(version, int):
            raise UnreadableRunError(
                f"format_version = {version!r}: must be a whole number; restore {RUN_FILE} from a copy."
            )
        if version > FORMAT_VERSION:
            raise UnreadableRunError(
                f"format_version = {version}: this version of the explorer reads formats up to "
                f"{FORMAT_VERSION}; upgrade the explorer to open the run."
            )
        info_fields = {f.name: f for f in fields(cls)}
        missing = [
            name
            for name, f in info_fields.items()
            if name not in data and f.default is MISSING and f.default_factory is MISSING
        ]
        if missing:
            raise UnreadableRunError(
                f"{RUN_FILE} lacks {', '.join(missing)}; every run must state it; add it or restore the file."
            )
        values = {name: data[name] for name in info_fields if name in data}
        rule, family = values.get("balancer"), values.get("balancer_family")
        # Other loops may state a family of their own; that of ours follows from the rule.
        if values.get("source", TRAINED) == TRAINED and isinstance(rule, str) and isinstance(family, str):
            values["balancer_family"] = family_of(rule, family)
        return cls(**values)


def _whole(value: Any, largest: int, least: int = 0) -> Any:
    """An integer of any type as int; anything else unchanged, so that the schema rejects it."""
    try:
        return to_whole(value, largest, least)
    except Refused:
        return value


def _sizes(name: str, value: Any) -> tuple[int, ...]:
    """A sequence of integers."""
    try:
        array, type_name = to_array(value)
        if array.ndim != 1 or array.max(initial=0) > INT32:
            raise Refused(f"must be a list of whole numbers up to {INT32}, one per MoE layer")
        return tuple(whole_array(array, type_name).tolist())
    except Refused as error:
        raise RunFolderError(f"{name} = {preview(value)}: {error}; describe the run as it is.") from error


def read_info(folder: Path) -> RunInfo:
    """Read run.json of a run folder. Raises UnreadableRunError with the reason."""
    data = read_object(folder / RUN_FILE)
    try:
        info = RunInfo.from_dict(data)
    except RunFolderError as error:
        raise UnreadableRunError(f"{folder / RUN_FILE}: {error}") from error
    if info.run_id != folder.name:
        raise UnreadableRunError(_of_another_name(folder, info.run_id))
    return info


def _of_another_name(folder: Path, run_id: str) -> str:
    """The error for a copied or renamed folder. A copy is not accepted as a separate run: it would count
    as another seed of its arm."""
    rule = f"{folder / RUN_FILE}: run_id = {json_text(run_id)}: must be the folder's name, {folder.name}"
    own_id = f"write the folder's name as run_id in this {RUN_FILE}"
    if not RUN_ID_PATTERN.fullmatch(folder.name):
        own_id = f"give the folder a name of A-Z a-z 0-9 . _ - and write that as run_id in its {RUN_FILE}"
    if (folder.parent / run_id).exists():
        return f"{rule}, and the folder {run_id} exists beside it; to list both as runs, {own_id}."
    return f"{rule}; rename the folder back to {run_id}, or {own_id}."


def run_info_from_config(
    config: RunConfig,
    *,
    run_id: str,
    name: str = "",
    preset: str | None = None,
    corpus: Mapping[str, Any] | None = None,
    device: str = "",
    versions: Mapping[str, str] | None = None,
) -> RunInfo:
    """Describe a run of our own training loop.

    corpus: name, digest, domains and vocab_size of the text; an empty `name` becomes the label of
    the arm and the seed. The balancer fields describe the arm: for a routing other than token choice, the
    routing takes the balancer's place.
    """
    return RunInfo(
        run_id=run_id,
        name=name or automatic_name(config.label, config.seed),
        preset=preset,
        config=config.to_dict(),
        pair_key=config.pair_key,
        **_arm_fields(config),
        seed=config.seed,
        num_moe_layers=config.model.num_moe_layers,
        num_experts=config.model.num_experts,
        top_k=config.model.top_k,
        tokens_per_step=config.training.tokens_per_step,
        num_steps=config.training.num_steps,
        corpus=dict(corpus or {"name": config.corpus.name, "vocab_size": config.corpus.vocab_size}),
        versions=dict(versions or {}),
        device=device,
    )


def with_rules_of(info: RunInfo, config: RunConfig) -> RunInfo:
    """The run's description after a rule change: its rule fields follow `config`."""
    named_by_rules = info.name == automatic_name(info.balancer_label, info.seed)
    return replace(
        info,
        name=automatic_name(config.label, info.seed) if named_by_rules else info.name,
        config=config.to_dict(),
        **_arm_fields(config),
    )


def automatic_name(label: str, seed: int | None) -> str:
    """Default name of a run."""
    return f"{label}, seed {seed}"


def given_name(name: str, *, run_id: str, label: str, seed: int | None) -> str:
    """The custom name of a run; empty if it equals the id, or the default name."""
    return "" if name.strip() in (run_id, label, automatic_name(label, seed)) else name.strip()


def _arm_fields(config: RunConfig) -> dict[str, Any]:
    """The fields that depend on the arm."""
    return {
        "config_digest": config.digest,
        "balancer": config.arm,
        "balancer_label": config.label,
        "balancer_family": config.family,
        "count_scope": config.count_scope,
    }


def make_run_id(
    runs_dir: Path | None = None,
    *,
    preset: str | None = None,
    family: str = "none",
    seed: int | None = None,
    now: datetime | None = None,
) -> str:
    """A readable, unique identifier, safe in a URL.

    It ends with six random characters: its folder may not exist yet, and two visitors or processes may start
    a run in the same second. An existing folder in `runs_dir` is avoided as well.

    >>> name = make_run_id(family="loss_free", seed=0, now=datetime(2026, 11, 22, 10, 15, 30))
    >>> name[:-6]
    'custom-loss_free-seed0-20261122-101530-'
    """
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%d-%H%M%S")
    words = [preset or "custom", family, f"seed{seed}" if seed is not None else "", stamp]
    text = "-".join(re.sub(r"[^A-Za-z0-9._]+", "-", word).strip("-._") for word in words if word)
    base = text.lstrip("-._")[-90:].lstrip("-._")
    while True:
        candidate = f"{base}-{secrets.token_hex(3)}"
        if runs_dir is None or not (runs_dir / candidate).exists():
            return candidate
