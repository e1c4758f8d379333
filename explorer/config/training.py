"""The training section of a run's configuration."""

from dataclasses import dataclass

from explorer.config.checks import check_int, check_number
from explorer.config.later import later
from explorer.errors import ConfigError, one_of


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Duration, optimizer and measurement intervals."""

    num_steps: int = 800
    """Optimizer steps."""
    sequence_length: int = 128
    """Tokens per sequence."""
    micro_batch_size: int = 16
    """Sequences in one forward and backward pass."""
    gradient_accumulation_steps: int = 1
    """Micro-batches per optimizer step."""
    learning_rate: float = 3e-3
    min_learning_rate: float = 3e-4
    lr_schedule: str = "cosine"
    """cosine, multistep (times 0.316 at 80 % and again at 90 % of the steps) or constant."""
    warmup_steps: int = 40
    weight_decay: float = 0.1
    adam_beta1: float = 0.9
    adam_beta2: float = 0.95
    max_grad_norm: float = 1.0
    eval_interval: int = 100
    """Steps between evaluations; the last step is always evaluated."""
    eval_tokens: int = 12288
    """Held-out tokens per intermediate evaluation, split evenly across domains."""
    final_eval_tokens: int = 36864
    """Held-out tokens of the last evaluation; max_vio_global needs at least 32,000."""
    sequence_load_interval: int = 10
    """Steps between records of per-sequence loads."""
    probe_tokens: int = 0
    """Tokens of the fixed probe batch whose router logits are kept at five steps; 0 keeps none."""
    checkpoint_interval: int = 0
    """Steps between checkpoints; 0: only one, when the run is stopped."""
    gradient_probe_interval: int = later(25)
    """Steps between measurements of the router gradients of language and auxiliary loss; 0: never."""
    seed: int = 0
    """Seeds the initial weights and the order of the data."""
    device: str = "auto"
    """auto (CUDA where there is one), cpu or cuda."""
    num_threads: int = 1
    """torch threads on a CPU; with two runs in parallel, use one each."""

    def __post_init__(self) -> None:
        for name in (
            "num_steps",
            "sequence_length",
            "micro_batch_size",
            "gradient_accumulation_steps",
            "eval_interval",
            "eval_tokens",
            "final_eval_tokens",
            "sequence_load_interval",
            "num_threads",
        ):
            check_int(f"training.{name}", getattr(self, name), least=1)
        for name in (
            "warmup_steps",
            "probe_tokens",
            "checkpoint_interval",
            "gradient_probe_interval",
            "seed",
        ):
            check_int(f"training.{name}", getattr(self, name), least=0)
        check_number("training.learning_rate", self.learning_rate, above=0)
        check_number("training.min_learning_rate", self.min_learning_rate, least=0)
        check_number("training.weight_decay", self.weight_decay, least=0)
        check_number("training.max_grad_norm", self.max_grad_norm, above=0)
        for name in ("adam_beta1", "adam_beta2"):
            check_number(f"training.{name}", getattr(self, name), least=0, below=1)
        one_of("training.lr_schedule", self.lr_schedule, ("cosine", "multistep", "constant"))
        one_of("training.device", self.device, ("auto", "cpu", "cuda"))
        if self.min_learning_rate > self.learning_rate:
            raise ConfigError(
                "training.min_learning_rate",
                self.min_learning_rate,
                f"must be at most training.learning_rate ({self.learning_rate:g})",
                "lower it",
            )
        if self.warmup_steps > self.num_steps:
            raise ConfigError(
                "training.warmup_steps",
                self.warmup_steps,
                f"must be at most training.num_steps ({self.num_steps})",
                "lower it",
            )
        if self.probe_tokens % self.sequence_length:
            raise ConfigError(
                "training.probe_tokens",
                self.probe_tokens,
                f"must be a multiple of training.sequence_length ({self.sequence_length})",
                "change it",
            )

    @property
    def tokens_per_step(self) -> int:
        return self.sequence_length * self.micro_batch_size * self.gradient_accumulation_steps
