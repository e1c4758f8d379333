"""Claims B1-B12, about sparse models and the theory of ALF-LB."""

from explorer.evidence.claim import ALF_LB, Claim, difference, value
from explorer.evidence.statistics import ABOVE, BELOW, NEVER, Region

DERIVED = "Derived here; only the abstracts of the paper were read."

CLAIMS = (
    Claim(
        id="B1",
        name="Capacity of sparse models",
        text="Sparse models scale their capacity by activating a small subset of the experts per token.",
        source=ALF_LB,
        comparisons=(
            difference(
                "architecture",
                "lm_loss",
                "global",
                "dense",
                BELOW,
                "held-out loss (nats), 16 experts − dense, equal active size",
            ),
            difference(
                "architecture",
                "lm_loss",
                "experts_64",
                "experts_4",
                BELOW,
                "held-out loss (nats), 64 − 4 experts, equal active size",
            ),
        ),
        falsifier="No lower loss than the dense model of equal active size, or none with more experts.",
    ),
    Claim(
        id="B2",
        name="Idle experts",
        text="Load balancing minimises idle experts.",
        source=ALF_LB,
        comparisons=(
            difference(
                "dilemma",
                "idle_share",
                "loss_free",
                "none",
                BELOW,
                "idle experts per step (share), loss-free − none",
            ),
            difference(
                "dilemma",
                "idle_share",
                "global",
                "none",
                BELOW,
                "idle experts per step (share), aux global − none",
            ),
        ),
        falsifier="As many idle experts as without balancing.",
    ),
    Claim(
        id="B3",
        name="Device utilisation",
        text="Balanced loads matter for the utilisation of the devices.",
        source=ALF_LB,
        comparisons=(
            difference(
                "dilemma",
                "utilisation",
                "loss_free",
                "none",
                ABOVE,
                "modelled utilisation (mean/max load), loss-free − none",
            ),
            difference(
                "dilemma",
                "utilisation",
                "global",
                "none",
                ABOVE,
                "modelled utilisation (mean/max load), aux global − none",
            ),
        ),
        falsifier="A modelled utilisation that is not higher.",
        caveat="Utilisation is modelled from counts: all devices wait for the busiest.",
    ),
    Claim(
        id="B4",
        name="Training every expert",
        text="Balanced loads matter for training all experts thoroughly.",
        source=ALF_LB,
        comparisons=(
            difference(
                "dilemma",
                "least_trained",
                "loss_free",
                "none",
                ABOVE,
                "tokens of the least trained expert over the mean, loss-free − none",
            ),
            difference(
                "expert-gradients",
                "least_gradient",
                "loss_free",
                "none",
                ABOVE,
                "gradient norm of the weakest expert over the mean, loss-free − none",
            ),
        ),
        falsifier="A least trained expert that gets as few tokens, or as small a gradient, as without "
        "balancing.",
    ),
    Claim(
        id="B5",
        name="Origin of ALF-LB",
        text="ALF-LB was proposed by Wang et al. in 2024.",
        source=ALF_LB,
        not_testable="A citation: it is arXiv 2408.15664, which has no experiment to repeat it.",
    ),
    Claim(
        id="B6",
        name="One dual update per step",
        text="It is a primal-dual method with one update per iteration, in constant time.",
        source=ALF_LB,
        comparisons=(
            value(
                "descent",
                "sign_mismatches",
                "sign",
                NEVER,
                "experts whose step is not −u times the sign of the dual's gradient",
            ),
            value(
                "descent",
                "reads_beyond_counts",
                "sign",
                NEVER,
                "updates that change when tokens are permuted or doubled",
            ),
        ),
        falsifier="One step that differs from −u · sign(∇D), or that depends on more than the E counts.",
        caveat=DERIVED,
    ),
    Claim(
        id="B7",
        name="Monotonic Lagrangian",
        text="In the deterministic setting, a condition ensures a monotonic improvement of the Lagrangian.",
        source=ALF_LB,
        comparisons=(
            value(
                "descent",
                "broken_promises",
                "sign",
                NEVER,
                "steps that meet the condition and do not improve",
            ),
        ),
        falsifier="One step with switched slots ≤ ½ Σ|A − L| after which the dual is worse.",
        caveat=DERIVED,
    ),
    Claim(
        id="B8",
        name="Direction of token moves",
        text="Tokens that change their experts move from overloaded to under-loaded ones.",
        source=ALF_LB,
        comparisons=(
            value("descent", "moves_against_order", "sign", NEVER, "moves against the order, sign rule"),
            value(
                "descent",
                "moves_against_order",
                "proportional",
                NEVER,
                "moves against the order, proportional rule",
            ),
        ),
        falsifier="One move to an expert that was not less loaded.",
        caveat=DERIVED,
    ),
    Claim(
        id="B9",
        name="Balance at convergence",
        text="The loads end approximately balanced.",
        source=ALF_LB,
        comparisons=(
            value(
                "descent",
                "beyond_band",
                "small_step",
                NEVER,
                "tokens beyond N − 1 after convergence, u = 0.0001",
            ),
            difference(
                "descent",
                "deviation",
                "large_step",
                "small_step",
                ABOVE,
                "largest deviation (tokens), u 0.01 − 0.0001",
            ),
        ),
        falsifier="A deviation above N − 1 tokens at a small step, or none that grows with u.",
        caveat=DERIVED,
    ),
    Claim(
        id="B10",
        name="Strong convexity of the dual",
        text="In the online setting, the expected dual is strongly convex.",
        source=ALF_LB,
        comparisons=(
            value("online", "curvature", "harmonic", ABOVE, "second eigenvalue of the tie-density Laplacian"),
            value(
                "online",
                "convexity_ratio",
                "harmonic",
                Region(low=0.5),
                "(D − D*) over (μ/2)‖p − p*‖², least of 12 directions",
            ),
        ),
        falsifier="A second eigenvalue of 0, or a dual that rises less than half as fast as its estimate "
        "says.",
        caveat=f"{DERIVED} μ is estimated from ties of finite width, hence the half.",
    ),
    Claim(
        id="B11",
        name="Logarithmic regret",
        text="The expected regret is logarithmic for certain step sizes.",
        source=ALF_LB,
        comparisons=(
            value(
                "online", "log_fit_gain", "harmonic", ABOVE, "R² of the regret against log n − against n, u/n"
            ),
            value(
                "online",
                "log_fit_gain",
                "constant",
                BELOW,
                "R² of the regret against log n − against n, constant u",
            ),
        ),
        falsifier="A u/n step whose regret is straighter in n, or a constant step whose regret is straighter "
        "in log n.",
        caveat=DERIVED,
    ),
    Claim(
        id="B12",
        name="ALF-LB step sizes in training",
        text="The step sizes of ALF-LB also balance real training (there: 1B DeepSeekMoE models).",
        source=ALF_LB,
        comparisons=(
            difference("update-rules", "max_vio_global", "sqrt", "none", BELOW, "MaxVio global, u/√n − none"),
            difference(
                "update-rules", "max_vio_global", "harmonic", "none", BELOW, "MaxVio global, u/n − none"
            ),
            difference(
                "update-rules",
                "worst_max_vio",
                "sqrt",
                "none",
                BELOW,
                "MaxVio of the worst layer, u/√n − none",
            ),
            difference(
                "update-rules",
                "worst_max_vio",
                "harmonic",
                "none",
                BELOW,
                "MaxVio of the worst layer, u/n − none",
            ),
        ),
        falsifier="A decaying step that does not balance, on average or in the worst layer.",
    ),
)
