"""The Evidence page: verdicts on all claims, and the runs behind one of them."""

from collections.abc import Sequence

from explorer.evidence import results
from explorer.figures import answers, evidence
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.panel import Question
from explorer.figures.store import Store
from explorer.figures.views.address import Address
from explorer.figures.views.view import OpenView, Query

TITLE = "Evidence"
CLAIM = "claim"
ANSWERS = "evidence_answers"
"""Panel of the claims about answers."""
DEFAULT = "A9"


def questions(settings: evidence.EvidenceSettings) -> dict[str, Question]:
    """Key -> question of every panel, in the order of the page."""
    builds = [
        ("evidence_verdicts", evidence.verdicts),
        ("evidence_claim", evidence.comparisons),
        ("evidence_runs", evidence.every_run),
        ("evidence_course", evidence.course),
    ]
    compared = evidence.result_of(settings).claim.comparisons
    if any(one.experiment == answers.EXPERIMENT for one in compared):
        builds.append((ANSWERS, answers.by_rule))
    return {
        key: Question(key=key, build=build, arms=ArmSet.of(()), settings=settings) for key, build in builds
    }


def settings_of(claim: str) -> evidence.EvidenceSettings:
    """The settings of a claim, for the rows that are there now."""
    return evidence.EvidenceSettings(claim=claim, version=results.fingerprint())


def open_view(store: Store, runs: Sequence[Run], query: Query) -> OpenView:
    """See `views.view.Opener`; neither the store nor a run is asked."""
    address = Address(query)
    ids = evidence.claim_ids()
    claim = address.choice(CLAIM, ids, DEFAULT, f"it must be one of {', '.join(ids)}")
    return OpenView(
        title=TITLE,
        questions=tuple(questions(settings_of(claim)).values()),
        notices=tuple(address.notices),
        query={CLAIM: (claim,)},
    )
