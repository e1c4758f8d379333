"""Complete configurations, as functions, and the defaults each gives a bare `loss_free` or `aux_loss`.

Gates. `tiny`, `quick` and `standard` use sigmoid scores whose selected gates are divided by their sum
(DeepSeek-V3's router). The scale of the layer's output then does not depend on the scores, so that two
balancing rules differ in where tokens go, not in the magnitude of expert outputs. A rule that shrinks
all scores is visible as exactly that. The `paper_*` presets use the gates of arXiv 2408.15664: sigmoid,
neither normalised nor scaled.

Update rate. A bias can move by at most u · steps. In 200 to 800 steps the paper's 0.001 is not enough,
so the small presets use 0.003; the `paper_*` presets use 0.001.
"""

from collections.abc import Callable
from dataclasses import replace

from explorer.config.routings import split_arm
from explorer.config.rule_text import Defaults
from explorer.config.run import BalancerConfig, CorpusConfig, ModelConfig, RunConfig, TrainingConfig
from explorer.errors import ConfigError


def tiny() -> RunConfig:
    """Two layers of four experts for tests: a few seconds, nothing to learn from."""
    return RunConfig(
        corpus=CorpusConfig(name="austen", tokenizer="bytes", vocab_size=256),
        model=ModelConfig(
            num_layers=2,
            hidden_size=16,
            num_heads=2,
            num_experts=4,
            top_k=2,
            expert_hidden_size=16,
            dense_hidden_size=32,
        ),
        training=TrainingConfig(
            num_steps=20,
            sequence_length=16,
            micro_batch_size=4,
            warmup_steps=2,
            eval_interval=10,
            eval_tokens=256,
            final_eval_tokens=512,
            sequence_load_interval=5,
        ),
    )


def quick() -> RunConfig:
    """A comparison within a minute: 200 steps of 1,024 tokens; collapse and balance already show."""
    return RunConfig(
        corpus=CorpusConfig(name="mix"),
        model=ModelConfig(num_layers=2, hidden_size=96, num_heads=4, expert_hidden_size=64),
        training=TrainingConfig(
            num_steps=200,
            sequence_length=64,
            micro_batch_size=16,
            warmup_steps=20,
            eval_interval=50,
            eval_tokens=3072,
        ),
    )


def standard() -> RunConfig:
    """The shipped comparison: 800 steps of 1,536 tokens, two sequences of each domain per step."""
    return RunConfig(
        corpus=CorpusConfig(name="mix"),
        model=ModelConfig(
            num_layers=4, hidden_size=96, num_heads=4, expert_hidden_size=64, num_shared_experts=1
        ),
        training=TrainingConfig(
            num_steps=800,
            sequence_length=128,
            micro_batch_size=12,
            warmup_steps=40,
            eval_interval=100,
            eval_tokens=6144,
        ),
    )


def two_hop() -> RunConfig:
    """Generated two-hop questions on a model with Mixtral's shape, 8 experts and top-2, for `evaluate`."""
    return RunConfig(
        corpus=CorpusConfig(name="two_hop", vocab_size=580),
        model=ModelConfig(
            num_layers=3, hidden_size=64, num_heads=4, num_experts=8, expert_hidden_size=32, init_std=0.05
        ),
        # 256 tokens hold a whole problem wherever they begin: shorter ones cut facts from their questions.
        training=TrainingConfig(
            num_steps=6000,
            sequence_length=256,
            micro_batch_size=6,
            learning_rate=4e-3,
            min_learning_rate=1e-3,
            weight_decay=0.0,
            eval_interval=250,
            eval_tokens=4096,
        ),
    )


def paper_1b() -> RunConfig:
    """The 1B model of arXiv 2408.15664, appendix A, for people with the hardware.

    The widths are not printed there: 8/3 of the hidden size is taken for the dense layer, and the
    granularity 16/3 gives the experts. The corpus is ours; theirs is not public.
    """
    return RunConfig(
        corpus=CorpusConfig(name="mix", vocab_size=32064),
        model=_paper_model(num_moe_layers=9, hidden_size=1024, num_heads=8, expert=512, dense=2736),
        training=_paper_training(
            num_steps=40_000,
            accumulation=72,
            learning_rate=1e-3,
            min_learning_rate=1e-4,
            lr_schedule="cosine",
            warmup_steps=1000,
        ),
    )


def paper_3b() -> RunConfig:
    """The 3B model of arXiv 2408.15664, appendix A; widths derived as in `paper_1b` (granularity 4)."""
    return RunConfig(
        corpus=CorpusConfig(name="mix", vocab_size=32064),
        model=_paper_model(num_moe_layers=11, hidden_size=1280, num_heads=10, expert=856, dense=3424),
        training=_paper_training(
            num_steps=56_514,
            accumulation=108,
            learning_rate=7.8e-4,
            min_learning_rate=7.8e-5,
            lr_schedule="multistep",
            warmup_steps=2000,
        ),
    )


def _paper_model(
    *, num_moe_layers: int, hidden_size: int, num_heads: int, expert: int, dense: int
) -> ModelConfig:
    return ModelConfig(
        num_layers=num_moe_layers + 1,
        num_dense_layers=1,
        hidden_size=hidden_size,
        num_heads=num_heads,
        num_experts=64,
        top_k=6,
        num_shared_experts=2,
        expert_hidden_size=expert,
        dense_hidden_size=dense,
        score_func="sigmoid",
        normalize_gates=False,
        route_scale=1.0,
        init_std=0.006,
    )


def _paper_training(
    *,
    num_steps: int,
    accumulation: int,
    learning_rate: float,
    min_learning_rate: float,
    lr_schedule: str,
    warmup_steps: int,
) -> TrainingConfig:
    return TrainingConfig(
        num_steps=num_steps,
        sequence_length=2048,
        micro_batch_size=16,
        gradient_accumulation_steps=accumulation,
        learning_rate=learning_rate,
        min_learning_rate=min_learning_rate,
        lr_schedule=lr_schedule,
        warmup_steps=warmup_steps,
        eval_interval=1000,
        eval_tokens=16 * 2048,
        final_eval_tokens=32 * 2048,
        checkpoint_interval=1000,
    )


PRESETS: dict[str, Callable[[], RunConfig]] = {
    "quick": quick,
    "standard": standard,
    "tiny": tiny,
    "two_hop": two_hop,
    "paper_1b": paper_1b,
    "paper_3b": paper_3b,
}

_PAPER_RULES: Defaults = {
    "loss_free": {"bias_update_rate": 0.001},
    "aux_loss": {"coeff": 0.001, "scope": "sequence", "score_norm": "raw"},
}
RULE_DEFAULTS: dict[str, Defaults] = {"paper_1b": _PAPER_RULES, "paper_3b": _PAPER_RULES}


def get_preset(name: str) -> RunConfig:
    """The configuration of a preset; an unknown name raises an error that lists the known ones."""
    if name not in PRESETS:
        raise ConfigError("preset", name, "is not a known preset", f"choose one of {', '.join(PRESETS)}")
    return PRESETS[name]()


def recorded_preset(config: RunConfig, name: str | None) -> str | None:
    """Preset name to record with a run: that of the preset it started from if only arm and seed differ,
    else None: a modified configuration matches no preset."""
    return name if name is not None and get_preset(name).pair_key == config.pair_key else None


def preset_balancer(preset: str | None, text: str) -> BalancerConfig:
    """Parse a balancer's text form; settings that it omits come from the preset."""
    return BalancerConfig.parse(text, RULE_DEFAULTS.get(preset or ""))


def arm_config(base: RunConfig, text: str, preset: str | None = None) -> RunConfig:
    """The experiment of `base` with another arm: a balancer, or a routing such as `expert_choice:chunk=128`.

    A balancer alone keeps the routing of `base`; settings that it omits come from the preset. Runs with
    the same seed share data, and initial weights in every module that both have.
    """
    fields, rules = split_arm(text)
    balancer = preset_balancer(preset, rules)
    if fields is None:
        return replace(base, balancer=balancer)
    return replace(base, balancer=balancer, model=replace(base.model, **fields))
