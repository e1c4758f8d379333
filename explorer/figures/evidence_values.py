"""Results of the evidence for other pages: what several seeds say where a figure shows one run."""

from explorer.evidence import results
from explorer.evidence.experiment import LEAST_PAIRS
from explorer.evidence.registry import CLAIMS
from explorer.evidence.report import ClaimResult, Result
from explorer.figures.evidence import evaluated, finding_of

NAMES = {claim.id: claim.name for claim in CLAIMS}


def comparison(claim: str, number: int) -> Result | None:
    """Comparison `number` (from 1) of a claim; None without such a one, or with fewer than five pairs."""
    whole = whole_claim(claim)
    if whole is None or not 1 <= number <= len(whole.results):
        return None
    one = whole.results[number - 1]
    return one if len(one.values) >= LEAST_PAIRS else None


def whole_claim(claim: str) -> ClaimResult | None:
    """A claim with its verdict; None for an unknown id."""
    return {result.claim.id: result for result in evaluated(results.fingerprint())}.get(claim)


def over_seeds(claim: str) -> str:
    """The first comparison of a claim in a sentence; empty with fewer than five pairs."""
    one = comparison(claim, 1)
    return finding_of(one) if one is not None else ""


def name_of(claim: str) -> str:
    """The short name of a claim on the pages. Raises KeyError for an unknown id."""
    return NAMES[claim]
