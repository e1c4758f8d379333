"""A package to pytest: fixtures of its scope end with the last test of this folder."""
