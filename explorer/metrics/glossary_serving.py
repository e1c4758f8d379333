"""Terms of the Glossary: expert placement and batch-aware selection."""

from explorer.metrics.sources import EPLB, LYNX, OEA, OURS
from explorer.metrics.term import READING, ROUTING, Term

TERMS: tuple[Term, ...] = (
    Term(
        key="hot_set",
        title="Hot set",
        section=READING,
        text="The busiest n experts of a layer in a window. Placing them specially pays off only if they "
        "hold much more than n/N of the load and are the same in a later window.",
        formula=r"\mathrm{coverage}(n) = \sum_{i \le n} c_{(i)} \Big/ \sum_i c_i",
        note="$c_{(i)}$ are the loads, largest first. At balance the coverage is n/N. Two random sets of "
        "n experts share n²/N of them.",
        sources=(OURS,),
    ),
    Term(
        key="eplb",
        title="Expert placement (EPLB)",
        section=READING,
        text="Copies of hot experts and their places on GPUs, planned from measured loads: copy the "
        "expert with the most load per copy, then pack the heaviest copy first onto the least loaded"
        " GPU.",
        note="Hierarchical: groups of experts are packed onto nodes first, and copies stay on that node; "
        "global: any GPU may hold any expert. Copies are taken to share their expert's tokens "
        "evenly.",
        sources=(EPLB,),
    ),
    Term(
        key="modelled_time",
        title="Modelled time of a layer",
        section=READING,
        text="The load of the busiest GPU over the mean load of the GPUs: all wait for the busiest one in "
        "every batch. 1 is balanced.",
        formula=r"\sum_r \max_g \ell_{r,g} \Big/ \sum_r \tfrac1G \sum_g \ell_{r,g}",
        note="$\\ell_{r,g}$ is the load of GPU $g$ in batch $r$. Communication, attention and the time to"
        " move weights are not included.",
        sources=(OURS,),
    ),
    Term(
        key="log_normal",
        title="Log-normal popularity",
        section=READING,
        text="The logarithms of the experts' loads are normally distributed, with standard deviation σ. "
        "At balance σ is 0; at σ = 1 one expert in forty has more than seven times the median load.",
        note="σ leaves out the variance that counting alone adds, the mean of 1/c. The Shapiro-Francia "
        "test asks whether the Q-Q plot is straight; it rejects at p < 0.05.",
        sources=(OURS,),
    ),
    Term(
        key="batch_aware",
        title="Batch-aware selection",
        section=ROUTING,
        text="When decoding, a layer's time grows with the number of distinct experts in the batch. Lynx "
        "and OEA let tokens of a batch share experts; a smaller static k drops experts instead.",
        formula=r"t = a \cdot B k + b \cdot \lvert \textstyle\bigcup_t S_t \rvert",
        note="OEA: a token keeps its $k_0$ best and fills up to K from what the batch has kept. Lynx: "
        "experts are scored by $\\sum_t B^{\\mathrm{bin}}$ over binned logit differences, and the "
        "highest are kept; its bins and its cut-off are unpublished and are settings here.",
        sources=(LYNX, OEA),
    ),
)
