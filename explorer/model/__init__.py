"""The language model: router, balancers, experts, transformer."""

from explorer.model.transformer import MoETransformer, build_model

__all__ = ["MoETransformer", "build_model"]
