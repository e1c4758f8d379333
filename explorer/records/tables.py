"""The tables of a run, column by column: the only place that defines them.

The recorder writes Parquet files with these columns, the store makes DuckDB tables of them and
`docs/schema.md` is generated from here. Raw integers are stored; every ratio is derived on reading,
so that a corrected definition also applies to old runs. `tokens` in a count always means
token-to-expert assignments.

Steps count from 0. The row of step s holds the bias *used in* the forward pass of s, before its
update; an evaluation at s follows s updates and stores its own bias.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column: its name, DuckDB type and meaning."""

    name: str
    sql_type: str
    meaning: str
    key: bool = False


def _key(name: str, sql_type: str, meaning: str) -> Column:
    return Column(name, sql_type, meaning, key=True)


RUN_ID = _key("run_id", "VARCHAR", "the run's folder name")
STEP = _key("step", "BIGINT", "optimizer step, from 0")
LAYER = _key(
    "layer", "INTEGER", "the model's own number of the MoE layer; 0 to L - 1 unless run.json names them"
)
EXPERT = _key(
    "expert",
    "INTEGER",
    "index among the routed experts of that layer, from 0; an expert that a narrower layer lacks has no row",
)
SPLIT = _key("split", "VARCHAR", "train or held_out")
DOMAIN = _key("domain", "VARCHAR", "domain of the text")

TABLES: dict[str, tuple[Column, ...]] = {
    "steps": (
        RUN_ID,
        STEP,
        Column("tokens_seen", "BIGINT", "training tokens up to and including this step"),
        Column(
            "lm_loss", "DOUBLE", "mean cross-entropy of the step, nats per token, without any balancing loss"
        ),
        Column("aux_loss", "DOUBLE", "auxiliary loss, unscaled, mean over layers; NULL without one"),
        Column("z_loss", "DOUBLE", "router z-loss, unscaled, mean over layers; NULL without one"),
        Column("grad_norm", "DOUBLE", "gradient norm before clipping"),
        Column("learning_rate", "DOUBLE", "learning rate used in this step"),
        Column("bias_update_rate", "DOUBLE", "u used after this step; NULL without a bias rule"),
        Column("wall_time_s", "DOUBLE", "seconds of training so far, evaluations not counted"),
    ),
    "expert_loads": (
        RUN_ID,
        STEP,
        LAYER,
        EXPERT,
        Column(
            "tokens",
            "BIGINT",
            "assignments chosen by the router in this step, over all micro-batches and ranks",
        ),
        Column("dropped_tokens", "BIGINT", "assignments beyond capacity; 0 when dropless"),
        Column("expert_bias", "FLOAT", "bias used in this step; NULL without a bias rule"),
        Column("mean_score", "FLOAT", "mean unbiased score over the tokens"),
        Column(
            "mean_normalised_score", "FLOAT", "mean of the score divided by the token's sum of scores (P)"
        ),
    ),
    "layer_steps": (
        RUN_ID,
        STEP,
        LAYER,
        Column("aux_loss", "DOUBLE", "auxiliary loss of this layer, unscaled; NULL without one"),
        Column(
            "switched_slots",
            "BIGINT",
            "assignments that the bias changed against the unbiased top-K; NULL without a bias",
        ),
        Column(
            "score_margin", "DOUBLE", "mean gap between the K-th and (K+1)-th compared score; NULL when K = E"
        ),
        Column(
            "router_grad_norm_lm",
            "DOUBLE",
            "gradient norm at the router's matrix from the language loss alone, of the whole step before "
            "clipping; NULL where it was not sampled",
        ),
        Column(
            "router_grad_norm_aux",
            "DOUBLE",
            "the same from the auxiliary losses alone, all layers' and times their coefficients, z-loss not "
            "included; NULL without one (a bias rule sends none) or where it was not sampled",
        ),
        Column(
            "router_grad_cosine",
            "DOUBLE",
            "cosine between the two, -1 where they pull in opposite directions; NULL like the norm before, "
            "NaN where one of them is 0",
        ),
    ),
    "sequence_loads": (
        RUN_ID,
        STEP,
        SPLIT,
        _key("micro_batch", "INTEGER", "micro-batch within the step, or batch within the evaluation"),
        _key("sequence", "INTEGER", "sequence within the micro-batch"),
        LAYER,
        EXPERT,
        Column("domain", "VARCHAR", "domain of the sequence"),
        Column("tokens", "BIGINT", "assignments of the sequence to the expert"),
    ),
    "rank_loads": (
        RUN_ID,
        STEP,
        _key("rank", "INTEGER", "process of a data-parallel run, from 0"),
        LAYER,
        EXPERT,
        Column("tokens", "BIGINT", "assignments of that rank's micro-batches; on sampled steps"),
    ),
    "evals": (
        RUN_ID,
        STEP,
        SPLIT,
        DOMAIN,
        Column("lm_loss", "DOUBLE", "mean cross-entropy, nats per token"),
        Column("num_tokens", "BIGINT", "predicted tokens"),
        Column("num_bytes", "BIGINT", "bytes of text behind those tokens"),
    ),
    "eval_loads": (
        RUN_ID,
        STEP,
        SPLIT,
        DOMAIN,
        LAYER,
        EXPERT,
        Column("tokens", "BIGINT", "assignments on held-out text"),
        Column("expert_bias", "FLOAT", "bias used, frozen during the evaluation; NULL without a bias rule"),
    ),
    "probe_scores": (
        RUN_ID,
        STEP,
        _key("token", "INTEGER", "position in the probe batch (its ids lie in probe.json)"),
        LAYER,
        Column(
            "router_logits", "FLOAT[]", "one logit per expert, fp32; NULL in a trace of routes without scores"
        ),
        Column(
            "selected_experts", "INTEGER[]", "the chosen experts: K, or as many as the routing gave the token"
        ),
        Column("expert_bias", "FLOAT[]", "bias used; NULL without a bias rule"),
    ),
    "events": (
        RUN_ID,
        STEP,
        Column("layer", "INTEGER", "layer concerned, or NULL"),
        Column("expert", "INTEGER", "expert concerned, or NULL"),
        Column("kind", "VARCHAR", "what happened, e.g. balancer_changed"),
        Column("detail", "VARCHAR", "in words"),
    ),
}
