"""Lessons and named experiments: TOML files without results in them."""
