"""The texts of the gallery: per figure what the paper plots, and where ours differs."""

from dataclasses import dataclass

from explorer.figures.views.gallery import LAYER, STEP
from explorer.metrics import LAST_RECORDED

PAPER = "https://arxiv.org/abs/2408.15664"


@dataclass(frozen=True, kw_only=True)
class Section:
    """One figure of the paper, or two that belong together."""

    number: str
    title: str
    paper: str
    """What the paper plots."""
    page: str
    """What stands here, and where it differs."""
    topic: str = ""
    """Term of the Glossary behind the title."""
    figure: int | None = None
    """Number of the figure that is drawn; None for a text alone."""
    claims: tuple[str, ...] = ()
    """Claims of the page Evidence that ask the figure's question of several seeds."""


SECTIONS = (
    Section(
        number="1",
        figure=1,
        title="the rule",
        paper="a diagram. A bias is added to the scores, the top K of the sum are chosen, loads are counted, "
        "and every bias moves by a fixed step: down for an overloaded expert, up for an under-loaded one.",
        page=f"the numbers of one recorded step (layer {LAYER}, step {STEP}). Replay shows every step.",
        topic="expert_bias",
    ),
    Section(
        number="2",
        figure=2,
        title="the dilemma of the auxiliary loss",
        paper="validation perplexity against MaxVio of the whole validation set, one point per run: the "
        "auxiliary loss with several coefficients, and loss-free balancing.",
        page="both scopes of the auxiliary loss, since its scope matters as much as its coefficient (the "
        "paper's loss is written for a sequence), several update rates, and five seeds in the middle of each "
        "sweep. Our scores are normalised before the loss, so our coefficients are not on the paper's scale.",
        topic="dilemma_plane",
        claims=("A7", "A8"),
    ),
    Section(
        number="3",
        figure=3,
        title="balance during training",
        paper="MaxVio of every training batch as a mean over 100 steps, auxiliary loss against loss-free "
        "balancing, for two sizes of model.",
        page="one size, the first seed of each rule, both scopes of the auxiliary loss. Lines as close as "
        "those two may swap places in the mean over seeds, which the Overview draws. The raw line is "
        "drawn behind the mean, and dashed lines show the random-routing baselines: our batches are far "
        "smaller, so chance matters more.",
        topic="max_vio",
        claims=("A11",),
    ),
    Section(
        number="4",
        figure=4,
        title="the update rate",
        paper="MaxVio of every batch as a mean over 100 steps for three update rates u, with their "
        "validation perplexity in the legend: a small rate converges slowly, a large one keeps fluctuating.",
        page="three rates again, ten times apart, around the one that our runs use. The steps are few, so a "
        "slow rate has less time.",
        topic="bias_update_rate",
        claims=("C1",),
    ),
    Section(
        number="5",
        figure=5,
        title="the size of a computation batch",
        paper="MaxVio of the tokens that are computed together, against their number, for two sizes of "
        "model. With the auxiliary loss it stops falling; with loss-free balancing it keeps falling.",
        page="groups of neighbouring sequences of one training step, from one to the whole step, seed 0, in "
        f"the last {LAST_RECORDED} steps whose sequences were recorded, and the random-routing baseline of "
        "as many tokens. Our steps are small, and each sequence comes from one domain: a group of one or "
        "two is unbalanced because texts differ.",
        topic="max_vio",
        claims=("C4",),
    ),
    Section(
        number="6",
        figure=6,
        title="how expert choice looks ahead",
        paper="a schematic with sequences of two tokens. When experts choose among the tokens of a "
        "sequence, whether the first token is selected depends on the second: routing leaks information "
        "about the future.",
        page="a measurement instead of a schematic, on recorded scores: one token is changed, and the other "
        "tokens whose experts change are counted, layer by layer. In a whole model the change also "
        "spreads over layers, which this figure does not show; `python -m benchmarks.leak` measures it.",
        claims=("C6",),
    ),
    Section(
        number="7 and 8",
        title="the softmax gate",
        paper="Figures 2 and 3 repeated with a softmax gate; the plane also shows the sigmoid gate.",
        page="not drawn. All shipped runs have a sigmoid gate, and nothing here is filled in by hand. Train "
        "your own: `python -m explorer compare --preset standard --set model.score_func=softmax`, then open "
        "it in Compare.",
        claims=("A3", "C5"),
    ),
    Section(
        number="9",
        figure=9,
        title="the training loss of expert choice",
        paper="training loss against step when experts choose inside chunks of several sizes, and once with "
        "the tokens shuffled across chunks. Small chunks show an abnormal drop, and shuffling removes it: a "
        "sign of the leak.",
        page="one run in which experts choose within a micro-batch, against two with token choice. A "
        "micro-batch holds many sequences, so the leak is smaller than in the paper's small chunks; "
        "`python -m benchmarks.leak` trains with other chunks.",
        topic="lm_loss",
    ),
)
