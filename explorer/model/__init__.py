"""The language model: router, balancers, experts, transformer.

Names of tensors end in the letters of their axes: `scores_TE` is [T, E]. The letters, here and in
`explorer.training`, `explorer.routing` and `explorer.records`:

    A  assignments of tokens to experts, at most T·K
    B  sequences in a micro-batch
    C  positions in a chunk of a sequence
    D  model width
    E  experts; N in the formulas of papers
    F  inner width of an expert; F2 is twice that
    G  groups, of experts or of tokens
    K  experts per token, or slots for them
    L  MoE layers
    M  histogram bins
    P  tokens of the probe batch
    R  ranks
    S  positions in a sequence
    T  tokens, B·S
    V  token ids of the vocabulary
    X  another size, explained next to the code
    1  an axis of length one
"""

from explorer.model.transformer import MoETransformer, build_model

__all__ = ["MoETransformer", "build_model"]
