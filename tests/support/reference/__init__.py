"""Slow, obvious references: loops over tokens and experts, written from the papers' equations.

They were written before their author had read the fast code, so that a shared misreading is
unlikely. Float64 and plain Python throughout; no torch. Never make them faster.

Symbols: N experts, K experts per token, T tokens, c_i tokens sent to expert i.
"""
