"""What the auxiliary loss costs: each number is that of a claim, and nothing is said without runs."""

from pathlib import Path

import pytest

from explorer.evidence import results
from explorer.evidence.statistics import NOT_RESOLVED
from explorer.figures import aux_loss_cost
from explorer.figures.evidence_values import comparison, name_of, whole_claim


def test_the_answer_states_the_numbers_of_the_claims() -> None:
    loss, scope = comparison("A8", 1), comparison("X1", 1)
    assert loss is not None
    assert scope is not None
    assert loss.effect is not None
    assert scope.effect is not None
    answer = aux_loss_cost.answer()
    assert f"{abs(loss.effect.mean):.4f} ± {loss.effect.half_width:.4f} higher" in answer
    assert f"{scope.effect.mean:.3f} ± {scope.effect.half_width:.4f} higher" in answer
    assert f"{len(loss.values)} pairs" in answer


def test_every_part_is_a_comparison_of_its_claim() -> None:
    table = aux_loss_cost.table()
    assert table["cost"].to_list() == [part.title for part in aux_loss_cost.PARTS]
    for part, row in zip(aux_loss_cost.PARTS, table.to_dicts(), strict=True):
        one = comparison(part.claim, part.number)
        assert one is not None
        assert row["verdict"].startswith(one.verdict)
        assert name_of(part.claim) in row["verdict"]
        assert row["measured"] == one.comparison.words


def test_every_value_and_its_runs_are_those_of_the_comparison() -> None:
    table = aux_loss_cost.table()
    for part, row in zip(aux_loss_cost.PARTS, table.to_dicts(), strict=True):
        one = comparison(part.claim, part.number)
        assert one is not None
        assert one.effect is not None
        words = row["value"].replace("\N{MINUS SIGN}", "-").split()
        assert int(row["runs"].split()[0]) == len(one.values)
        if one.comparison.region.never:
            assert words == [
                "above",
                "0",
                "in",
                str(sum(v > 0 for v in one.values.values())),
                "of",
                row["runs"].split()[0],
            ]
            continue
        mean, sign, half_width = words
        assert float(mean) == pytest.approx(one.effect.mean, rel=1e-2)
        assert sign == "±"
        assert float(half_width) == pytest.approx(one.effect.half_width, rel=1e-2)


def test_a_comparison_says_so_where_its_claim_has_another_verdict() -> None:
    table = aux_loss_cost.table()
    for part, verdict in zip(aux_loss_cost.PARTS, table["verdict"], strict=True):
        one, whole = comparison(part.claim, part.number), whole_claim(part.claim)
        assert one is not None
        assert whole is not None
        assert (f"as a whole: {whole.verdict}" in verdict) == (one.verdict != whole.verdict)
    # As the runs stand: the scope counts, but not all that X1 says.
    assert (
        "(one of the 3 comparisons of “Scope or mechanism”; claim as a whole: not resolved"
        in table["verdict"][2]
    )


def test_an_open_comparison_whose_interval_excludes_0_says_why() -> None:
    table = aux_loss_cost.table()
    for part, verdict in zip(aux_loss_cost.PARTS, table["verdict"], strict=True):
        one = comparison(part.claim, part.number)
        assert one is not None
        assert one.effect is not None
        excludes_0 = one.effect.low > 0 or one.effect.high < 0
        assert (aux_loss_cost.LOST in verdict) == (excludes_0 and one.verdict == NOT_RESOLVED)


def test_without_runs_there_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path / "nothing")
    assert aux_loss_cost.answer() == ""
    assert aux_loss_cost.table().is_empty()
