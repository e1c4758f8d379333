"""A host's training limits: model sizes, queue length and memory per run.

`EXPLORER_LIMITS` sets them, e.g. `model.num_experts=64,training.num_steps=2000,memory_gb=4,queue=12`
(docs/security.md has the list). The app checks all of them before it queues a run; the trainer checks memory
only, so that a configuration from elsewhere trains wherever it fits.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from explorer.config.bounds import MOST
from explorer.config.checks import check_number, read_int
from explorer.config.run import RunConfig
from explorer.errors import ConfigError

VARIABLE = "EXPLORER_LIMITS"
GB = 1e9
CGROUP_FILES = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
AT_ONCE = 2
"""Runs that the app trains at a time; they share the memory."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of one host."""

    sizes: tuple[tuple[str, int], ...] = ()
    """Largest values of single fields, e.g. (("model.num_experts", 64),)."""
    memory_gb: float | None = None
    """Gigabytes per run on the CPU (`memory_of`); None: an equal share of this machine's memory."""
    runs_per_start: int = 24
    """Runs that one start may queue."""
    queue: int = 48
    """Runs of all visitors that are training or queued."""
    upload_mb: int = 200
    """Size of one uploaded file, in units of 1,048,576 bytes."""

    @classmethod
    def from_environment(cls) -> "Limits":
        """Read `EXPLORER_LIMITS`. Raises ConfigError that names the entry."""
        return cls.parse(os.environ.get(VARIABLE, ""))

    @classmethod
    def parse(cls, text: str) -> "Limits":
        """Entries `name=value`, separated by commas."""
        own = [f.name for f in fields(cls) if f.name != "sizes"]
        limits: dict[str, Any] = {}
        sizes: dict[str, int] = {}
        for entry in filter(None, (piece.strip() for piece in text.split(","))):
            name, _, value = (part.strip() for part in entry.partition("="))
            if name == "memory_gb":
                limits[name] = _positive(name, value)
            elif name in own:
                limits[name] = read_int(name, value, least=1, remedy=f"write {name}=10")
            elif name in MOST and not name.startswith(("quantile", "bip", "mqb")):
                sizes[name] = read_int(name, value, least=1, remedy=f"write {name}=10")
            else:
                raise ConfigError(
                    VARIABLE, entry, "is not a known limit", f"choose among {', '.join([*own, *SIZES])}"
                )
        return cls(sizes=tuple(sorted(sizes.items())), **limits)

    @property
    def most(self) -> Mapping[str, int]:
        """Field -> upper bound. Threads are limited to the host's cores: more only slow a run down."""
        return {"training.num_threads": max(os.cpu_count() or 1, AT_ONCE), **dict(self.sizes)}

    def check(self, config: RunConfig) -> None:
        """Reject a run above this host's limits. Raises ConfigError that names the field."""
        for field, most in self.most.items():
            section, _, name = field.partition(".")
            value = getattr(getattr(config, section), name)
            if value is not None and value > most:
                raise ConfigError(field, value, f"must be at most {most:,} on this host", "lower it")
        limit = self.memory_gb * GB if self.memory_gb is not None else _share_of_memory()
        check_memory(config, limit)


SIZES = tuple(name for name in MOST if name.startswith(("corpus.", "model.", "training.")))


def _positive(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    check_number(name, value, above=0)
    return value


def _share_of_memory() -> float | None:
    total = machine_memory()
    return None if total is None else total / AT_ONCE


def machine_memory() -> int | None:
    """Memory in bytes of this machine, or of the container around this process; None if unknown."""
    return min(_known_memory(), default=None)


def _known_memory() -> Iterator[int]:
    with suppress(AttributeError, ValueError, OSError):
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file in CGROUP_FILES:
        # "max" where there is no limit.
        with suppress(OSError, ValueError):
            yield int(file.read_text(encoding="ascii"))


def check_memory(config: RunConfig, limit: float | None) -> None:
    """Reject a run estimated above `limit` bytes; runs on a GPU pass. Raises ConfigError."""
    if limit is None or config.training.device == "cuda":
        return
    need = memory_of(config)
    if need > limit:
        raise ConfigError(
            "memory",
            f"{need / GB:,.1f} GB",
            f"is what this run would take, and {limit / GB:,.1f} GB is the most for a run on this machine",
            "lower training.micro_batch_size, training.sequence_length or a size of the model",
        )


def memory_of(config: RunConfig) -> float:
    """Estimate of the memory in bytes needed for training, in float32 with Adam.

    Libraries; weights with gradients and moments; activations of one micro-batch; a step's batch and
    counts; the histograms of quantile rules. Peaks measured on a CPU are within 10 % of it.
    """
    parts = (16 * num_parameters(config), _activations(config), _records(config), _histograms(config))
    return BASE_BYTES + sum(parts)


BASE_BYTES = 4e8
"""Bytes of a process that has loaded torch and a corpus."""


def num_parameters(config: RunConfig) -> int:
    """Number of parameters; embedding and output layer are tied."""
    m, width = config.model, config.model.hidden_size
    active = m.top_k + m.num_shared_experts
    routed = m.num_experts * (width + 3 * width * m.expert_hidden_size)
    if m.noisy_top_k:
        routed += m.num_experts * width
    mixture = routed + 3 * width * m.num_shared_experts * m.expert_hidden_size
    if m.routing == "dense":
        mixture = 3 * width * active * m.expert_hidden_size
    dense = 3 * width * m.dense_hidden_size
    blocks = m.num_layers * (4 * width * width + 2 * width)
    blocks += m.num_dense_layers * dense + (m.num_layers - m.num_dense_layers) * mixture
    positions = config.training.sequence_length * width if m.position == "learned" else 0
    return config.corpus.vocab_size * width + blocks + positions + width


def _activations(config: RunConfig) -> float:
    """Bytes kept for the backward pass of a micro-batch."""
    m, t = config.model, config.training
    computed = m.num_experts if m.dispatch == "dense" else m.top_k
    served = computed + m.num_shared_experts
    layer = 16 * m.hidden_size + served * (2 * m.hidden_size + 4 * m.expert_hidden_size) + 8 * m.num_experts
    dense = 16 * m.hidden_size + 4 * m.dense_hidden_size
    mixtures = m.num_layers - m.num_dense_layers
    values = mixtures * layer + m.num_dense_layers * dense + 4 * config.corpus.vocab_size
    return 4.0 * t.sequence_length * t.micro_batch_size * values


def _records(config: RunConfig) -> float:
    """Bytes of a step's token ids, its counts per sequence, and the probe batch."""
    m, t = config.model, config.training
    sequences = t.micro_batch_size * t.gradient_accumulation_steps
    counts = m.num_layers * m.num_experts
    return 16.0 * t.tokens_per_step + 64.0 * sequences * counts + 8.0 * t.probe_tokens * counts


def _histograms(config: RunConfig) -> float:
    """Bytes of the distributions that the quantile rules keep, per layer and per sequence."""
    experts, sequences = config.model.num_experts, config.training.micro_batch_size
    stages = (config.balancer.rules, *(change.rules for change in config.balancer.schedule))
    total = 0.0
    for rule in (rule for rules in stages for rule in rules):
        total += 8.0 * config.model.num_layers * experts * getattr(rule, "num_bins", 0)
        total += 8.0 * sequences * experts * getattr(rule, "score_bins", 0)
    return total
