"""What differs between compared arms besides the balancing rule: settings, seeds, text, and the routing."""

import json
from collections.abc import Iterable
from typing import Any

from explorer.config.run import differences
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm
from explorer.figures.load_kind import KindOfLoads
from explorer.wording import and_list

MOST_NAMES = 6
"""Settings that a sentence names."""
ROUTING_NOTES = {
    "expert_choice": "Experts select their best tokens, so every expert has the same load by construction. A "
    "token may have any number of experts, including none; gates are the scores, not normalised. A token's "
    "experts depend on later tokens, in training and on held-out text (routed over whole batches of one "
    "domain), so decoding does not reach its perplexity.",
    "expert_threshold": "A token goes to every expert whose threshold its score exceeds, possibly to none; "
    "gates are the scores, not normalised.",
    "hash": "The token's id selects the experts; the router only sets the gates.",
    "random": "Experts are drawn at random in every pass; the router only sets the gates.",
    "dense": "No experts: one feed-forward layer as wide as the active experts of a token. It has no loads, "
    "biases or MaxVio and is left out where these are shown.",
}
"""Family of a routing that is not token choice -> what else differs with it."""


def confounders(arms: ArmSet) -> list[str]:
    """Sentences that name what differs besides the balancing rule: settings, text and seeds."""
    first, *others = arms
    sentences = [sentence for arm in others for sentence in _of_pair(arms, first, arm)]
    sentences += _unknown_text(arms)
    sentences += _kinds_of_loads(arms)
    seeds = [{run.seed for run in arm.runs} for arm in arms]
    common = set.intersection(*seeds)
    if not common:
        sentences.append(
            "These runs have no seed in common, so initial weights and data differ too. Choose the same "
            "seeds for a fair comparison."
        )
    elif any(s != common for s in seeds):
        shared = ", ".join(map(str, sorted(common, key=str)))
        sentences.append(f"These runs do not all have the same seeds; only seed {shared} is paired.")
    return sentences


def _of_pair(arms: ArmSet, first: Arm, arm: Arm) -> list[str]:
    """How two arms differ in settings, and in text where that is known."""
    one, other = json.loads(first.first.config), json.loads(arm.first.config)
    names = differences(one, other)
    sentences = []
    if names:
        details = ", ".join(f"{n} ({_value(one, n)} against {_value(other, n)})" for n in names[:MOST_NAMES])
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        sentences.append(
            f"“{arms.label(first)}” and “{arms.label(arm)}” differ in more than the balancing rule: "
            f"{details}{more}. This may cause the differences shown below."
        )
    if not _names_corpus(names):
        sentences += other_text(arms, first, arm)
    return sentences


def _value(config: dict[str, Any], name: str) -> object:
    section, _, field = name.partition(".")
    values = config.get(section, "not set")
    return values.get(field, "not set") if field and isinstance(values, dict) else values


def _names_corpus(names: Iterable[str]) -> bool:
    """Whether one of these settings is of the corpus: then the text differs as configured."""
    return any(name.startswith("corpus.") for name in names)


def other_text(arms: ArmSet, first: Arm, arm: Arm) -> list[str]:
    """A sentence where two arms of one corpus are known to be trained on different text."""
    one, other = first.first.corpus_digest, arm.first.corpus_digest
    if not one or not other or one == other:
        return []
    return [
        f"“{arms.label(first)}” and “{arms.label(arm)}” were trained on different text (corpus digest "
        f"{one[:8]} against {other[:8]}), so their runs are not paired. Train both on the same corpus files; "
        "the text of the corpus “python” changes with the Python version."
    ]


def _unknown_text(arms: ArmSet) -> list[str]:
    """One sentence that names the first arm and all of its corpus whose text cannot be compared with its."""
    first, *others = arms
    config = json.loads(first.first.config)
    unknown = [
        f"“{arms.label(arm)}”"
        for arm in others
        if not (first.first.corpus_digest and arm.first.corpus_digest)
        and not _names_corpus(differences(config, json.loads(arm.first.config)))
    ]
    if not unknown:
        return []
    names = [f"“{arms.label(first)}”", *unknown]
    return [
        f"The text of {', '.join(names[:-1])} and {names[-1]} is not recorded for "
        f"{'both' if len(names) == 2 else 'all'} (corpus.digest in run.json), so it may differ and cause the "
        "differences shown below."
    ]


def _placements(arms: ArmSet) -> list[str]:
    """One sentence per arm whose numbers are no loads."""
    return [
        f"The numbers of “{arms.label(arm)}” are replicas per expert, which say where experts lie and not "
        "how busy they are: it has no MaxVio and no view of loads."
        for arm in arms
        if arm.first.kind_of_loads.is_placement
    ]


def _kinds_of_loads(arms: ArmSet) -> list[str]:
    """One sentence where the loads of these arms are not the same kind of number."""
    kinds: dict[KindOfLoads, list[str]] = {}
    for arm in arms.with_loads():
        kinds.setdefault(arm.first.kind_of_loads, []).append(f"“{arms.label(arm)}”")
    if len(kinds) < 2:
        return []
    parts = [f"{and_list(names)}: {', '.join(map(_label_text, kind))}" for kind, names in kinds.items()]
    return [
        f"The loads differ in unit, scope or phase ({'; '.join(parts)}). They are not paired, and a "
        "difference between them is not one between balancing rules."
    ]


def _label_text(label: str) -> str:
    return label or "unknown"


def routing_notes(arms: ArmSet) -> list[str]:
    """One sentence per arm whose tokens do not choose their experts, or whose numbers are no loads."""
    return [
        f"“{arms.label(arm)}”: {ROUTING_NOTES[arm.family]}" for arm in arms if arm.family in ROUTING_NOTES
    ] + _placements(arms)
