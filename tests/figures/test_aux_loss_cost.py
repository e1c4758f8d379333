"""What the auxiliary loss costs: each number is that of a claim, and nothing is said without runs."""

from pathlib import Path

import pytest

from explorer.evidence import results
from explorer.figures import aux_loss_cost
from explorer.figures.evidence_values import comparison


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
        assert row["verdict"] == f"{one.verdict} (claim\u00a0{part.claim})"
        assert row["measured"] == one.comparison.words


def test_without_runs_there_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path / "nothing")
    assert aux_loss_cost.answer() == ""
    assert aux_loss_cost.table().is_empty()
