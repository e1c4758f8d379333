"""The arms that an address names (`?runs=`), as the run picker of the app reads it."""

from collections.abc import Iterable, Sequence

from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import MOST, Arm, Run, arms_of, default_arms, group_title, unique_names
from explorer.figures.views.address import MOST_LETTERS, Address

RUNS = "runs"


def selected_arms(runs: Sequence[Run], address: Address) -> ArmSet:
    """The arms that the address names, at most MOST; the default comparison where it names none."""
    arms = arms_of(runs)
    by_token = {arm.token: arm for arm in arms}
    tokens = list(dict.fromkeys(token for token in address.query.get(RUNS, ()) if token))
    present = [token for token in tokens if token in by_token]
    notice = complaint([_short(token) for token in tokens if token not in by_token], len(present))
    if notice:
        address.notices.append(notice)
    selected: list[Arm] = [by_token[token] for token in present[:MOST]] or default_arms(arms)
    return ArmSet.of(selected)


def picked_first(runs: Iterable[Run], arms: Iterable[Arm]) -> list[Run]:
    """These runs, those of the selected arms in front; a run of an arm that is not among them is left out."""
    usable = dict.fromkeys(runs)
    picked = dict.fromkeys(run for arm in arms for run in arm.runs if run in usable)
    return [*picked, *(run for run in usable if run not in picked)]


def default_run(runs: Sequence[Run]) -> Run:
    """The first loss-free run, whose biases are worth a look; else the first of all."""
    return next((run for run in runs if run.family == "loss_free"), runs[0])


def run_names(runs: Sequence[Run]) -> dict[str, str]:
    """Run id -> what a list of these runs shows: `standard loss-free 0.003, seed 0`; no two are alike."""
    arms = [Arm(token=run.run_id, label=run.label, runs=(run,)) for run in runs]
    return unique_names(arms, [f"{run.preset} {run.short}" if run.preset else run.short for run in runs])


def arm_names(arms: Sequence[Arm]) -> dict[str, str]:
    """Token -> what the picker shows: `standard no balancing` (`, seed 0` for one run); no two are alike."""
    groups = {arm.token: group_title(arm) for arm in arms if arm.is_group}
    singles = run_names([arm.first for arm in arms if not arm.is_group])
    # Somebody may have given a run the name of a group.
    return groups | {token: f"{n} · {token}" if n in groups.values() else n for token, n in singles.items()}


def picker_names(arms: Sequence[Arm]) -> dict[str, str]:
    """The same with the id behind the name of a single run: the field of the picker searches in this text.

    The preset is omitted if all runs share it: a line of the sidebar has room for the rule, not for both.
    """
    names = arm_names(arms)
    presets = {run.preset for arm in arms for run in arm.runs}
    if len(presets) == 1 and (preset := presets.pop()):
        short = {token: name.removeprefix(f"{preset} ") for token, name in names.items()}
        names = short if len(set(short.values())) == len(short) else names
    return names | {
        arm.token: f"{names[arm.token]} · {arm.token}"
        for arm in arms
        if not arm.is_group and arm.token not in names[arm.token]
    }


def _short(token: str) -> str:
    return token if len(token) <= MOST_LETTERS else f"{token[:MOST_LETTERS]}…"


def entry(arm: Arm, label: str) -> str:
    """Sidebar text of a selected arm: its legend text, its seeds, and its name if it has one."""
    seeds = "" if arm.first.seed is None else arm.seeds
    title = "" if arm.is_group else arm.first.title
    return ", ".join([label, *(words for words in (seeds, title) if words not in label)])


def complaint(unknown: Sequence[str], number_of_known: int) -> str:
    """What is wrong with the runs of an address; "" for nothing."""
    if unknown:
        names = ", ".join(f"“{token}”" for token in unknown[:MOST])
        more = f" and {len(unknown) - MOST} more" if len(unknown) > MOST else ""
        return f"The link names runs that do not exist here: {names}{more}. Other runs are shown instead."
    if number_of_known > MOST:
        return f"The link names {number_of_known} runs; only the first {MOST} fit into one chart."
    return ""
