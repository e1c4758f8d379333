"""Routing in numpy: scores, gates, balancing rules and the bias step, for everything that has no model."""
