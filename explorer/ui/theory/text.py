"""What the page says in words and formulas, and what is published and what was derived here."""

INTRODUCTION = (
    "Think of a bias as a discount: busy experts get dearer, idle ones cheaper, until every token has a "
    "seat and every seat a token."
)
WHY = (
    "If that picture is exact, one number per expert balances the load without touching a gradient. The "
    "theory then tells which updates help, how good the best balanced assignment is, and how fast the "
    "biases are learned. This page checks each of these on a fixed set of tokens."
)
DUAL_IN_WORDS = (
    "For given biases, let each token take the K experts with the highest score plus bias. Add up these "
    "sums over all tokens and subtract the bias of every seat, taken or not: the result is the *dual* D(b). "
    "No balanced assignment scores higher than the dual, whatever the biases, and at its minimum the dual "
    "equals the score of the best one. So a rule that lowers the dual approaches that assignment."
)
PROBLEM = (
    r"\max_{x}\ \sum_{i,k}s_{ik}x_{ik}\quad\text{with}\quad"
    r"\sum_k x_{ik}=K,\ \ \sum_i x_{ik}=L=\tfrac{KT}{N}"
)
LAGRANGIAN = r"\Lambda(x,b)=\sum_{i,k}s_{ik}x_{ik}+\sum_k b_k\Big(\sum_i x_{ik}-L\Big)"
DUAL = (
    r"D(b)=\max_x\Lambda(x,b)=\sum_i\operatorname{TopKSum}(s_i+b)-L\sum_k b_k,"
    r"\qquad \nabla D=c(b)-L"
)
IDENTITY = (
    r"D(b^{+})-D(b)=-\underbrace{\sum_k\Delta b_k\,(L-c_k)}_{\text{predicted decrease}}"
    r"+\underbrace{B}_{\text{switching benefit}\ \ge\ 0}"
)
CONDITION = (
    r"\text{switched assignments}\ \le\ \tfrac12\sum_k|c_k-L|\quad\Rightarrow\quad D(b^{+})\le D(b)"
    r"\qquad\text{(sign rule)}"
)

PUBLISHED = """
**Published** (Han and Zhong, [arXiv 2512.03915](https://arxiv.org/abs/2512.03915); only the abstracts of its
versions were read):

- loss-free balancing as a primal-dual method for an assignment problem, one constant-time update per step;
- on fixed scores: a condition for monotonic improvement of a Lagrangian, a preference of tokens to move from
  overloaded to under-loaded experts, an approximate-balance guarantee;
- online: strong convexity and logarithmic expected regret for certain step sizes.

Published (Wang et al., [arXiv 2408.15664](https://arxiv.org/abs/2408.15664)): sign and proportional rule.
"""
DERIVED = """
**Derived here**, and checked on every chart of this page; nothing below is quoted from the paper:

- the Lagrangian and the dual as written above, and the exact optimum by linear programming;
- the identity of predicted decrease and switching benefit, and the sufficient condition counted in switched
  assignments;
- the preference of each rule by its own order, with ties allowed;
- the band of N − 1 tokens: at a minimum of the dual, with scores in general position, the ties form a forest
  over the experts, so at most N − 1 assignments can lie on the wrong side;
- the tie-density Laplacian as the Hessian, its second eigenvalue μ, and u = K / (N μ) for the u/n step.
"""
SO_WHAT = {
    "dual": "**Does balance cost score?** Assigning tokens arbitrarily could balance the loads, too. At "
    "distance 0 the rule does better: every seat is taken, and no other balanced assignment gives the "
    "tokens higher scores.",
    "account": "**Was the update worth it?** An update helps while few tokens switch experts because of it. "
    "Where it makes too many switch, it was too large, and later updates have to undo it.",
    "moves": "**Do tokens go the right way?** From busy experts to idle ones is progress; the other way "
    "would undo it.",
    "band": "**How even do the loads get?** Inside the band, what remains are ties that no bias can split. "
    "Loads that never get there, or leave again, call for more steps or a smaller step size.",
    "regret": "**What does it cost to learn from new tokens in every step, as in training?** A line that "
    "flattens has learned the biases; a line that keeps climbing pays the same cost at every step.",
    "ties": "**How fast can biases be learned?** Where many tokens tie between two experts, a small change "
    "of bias moves load between them; experts that share no ties balance slowly.",
}
"""Section -> why a reader should care, before the words and formulas."""
