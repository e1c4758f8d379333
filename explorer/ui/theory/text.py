"""The problem in formulas, and what is published and what was derived here."""

PROBLEM = (
    r"\max_{x}\ \sum_{i,k}\gamma_{ik}x_{ik}\quad\text{with}\quad"
    r"\sum_k x_{ik}=K,\ \ \sum_i x_{ik}=L=\tfrac{KT}{E}"
)
LAGRANGIAN = r"\Lambda(x,p)=\sum_{i,k}\gamma_{ik}x_{ik}+\sum_k p_k\Big(\sum_i x_{ik}-L\Big)"
DUAL = (
    r"D(p)=\max_x\Lambda(x,p)=\sum_i\operatorname{TopKSum}(\gamma_i+p)-L\sum_k p_k,"
    r"\qquad \nabla D=A(p)-L"
)
IDENTITY = (
    r"D(p^{+})-D(p)=-\underbrace{\sum_k\Delta p_k\,(L-A_k)}_{\text{promise}}"
    r"+\underbrace{B}_{\text{benefit}\ \ge\ 0}"
)
CONDITION = (
    r"\text{switched slots}\ \le\ \tfrac12\sum_k|A_k-L|\quad\Rightarrow\quad D(p^{+})\le D(p)"
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
- the identity promise and benefit, and the sufficient condition counted in switched slots;
- the preference of each rule by its own order, with ties allowed;
- the band of E − 1 tokens: at a minimum of the dual, with scores in general position, the ties form a forest
  over the experts, so at most E − 1 slots can lie on the wrong side;
- the tie-density Laplacian as the Hessian, its second eigenvalue μ, and u = K / (E μ) for the u/n step.
"""
