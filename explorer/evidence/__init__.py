"""Claims from the literature as experiments: what was claimed, how it is tested, and what the runs say.

`registry` lists every claim and every experiment; `runner` makes the missing runs through the one queue of
child processes; `report` computes the verdicts from the rows that the runs recorded. `docs/evidence.md`
explains how.
"""
