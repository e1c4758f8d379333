"""The arms that an address compares: parameter `runs`, one token of the run picker per value."""

from collections.abc import Sequence

from explorer.figures.arms import MOST, Arm, Run, arms_of, default_arms
from explorer.figures.views.address import Address


def picked_arms(runs: Sequence[Run], address: Address) -> list[Arm]:
    """The arms that the address names, else the default comparison; unknown tokens become a notice."""
    arms = arms_of(runs)
    by_token = {arm.token: arm for arm in arms}
    tokens = list(dict.fromkeys(token for token in address.query.get("runs", ()) if token))
    unknown = [token for token in tokens if token not in by_token]
    if unknown:
        address.notices.append(f"The link names runs that are not here: {', '.join(unknown[:MOST])}.")
    return [by_token[token] for token in tokens if token in by_token][:MOST] or default_arms(arms)
