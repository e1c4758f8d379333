"""Routing in numpy: scores, gates, balancing rules and the bias step, for code without a model."""
