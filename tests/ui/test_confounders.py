"""What differs besides the rule is named on Compare: settings, seeds, and the text itself."""

import pytest
from sentences import sentence

from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm, Run, arms_of, default_arms, run_from_row
from explorer.figures.confounders import confounders
from explorer.figures.quality import pair_origin

ROW = {
    "name": "", "path": "", "state": "finished", "dir_kind": "own", "preset": "tiny", "balancer_label": "",
    "balancer_family": "none", "count_scope": "none", "pair_key": "k", "config": "{}", "num_moe_layers": 2,
    "num_experts": 8, "top_k": 2, "tokens_per_step": 64, "num_steps": 40, "last_step": 39, "generation": 1,
    "created_at": "", "problem": None, "message": None,
}  # fmt: skip


def run(run_id: str, balancer: str, seed: int, digest: str | None) -> Run:
    row = {"run_id": run_id, "balancer": balancer, "seed": seed, "corpus_digest": digest}
    return run_from_row({**ROW, **row})


def arm(run_id: str, digest: str | None) -> Arm:
    return Arm(token=run_id, label=run_id, runs=(run(run_id, run_id, 0, digest),))


def warnings_of(*arms: Arm) -> list[str]:
    return confounders(ArmSet(arms, {one.token: one.label for one in arms}))


def test_runs_on_the_same_text_have_no_warning() -> None:
    arms = [arm("none", "0123456789ab"), arm("loss_free", "0123456789ab")]
    assert warnings_of(*arms) == []
    assert pair_origin(arms) == sentence("compare.same_weights_and_data")


def test_runs_on_different_text_are_named_with_their_digests() -> None:
    (message,) = warnings_of(arm("none", "0123456789ab"), arm("loss_free", "fedcba987654"))
    assert message.startswith(
        sentence(
            "compare.different_text",
            arm="none",
            other="loss_free",
            digest="01234567",
            other_digest="fedcba98",
        )
    )


@pytest.mark.parametrize("digests", [("0123456789ab", None), (None, None), ("", "0123456789ab")])
def test_a_text_that_is_not_recorded_is_said_to_be_unknown(digests: tuple[str | None, str | None]) -> None:
    arms = [arm("none", digests[0]), arm("loss_free", digests[1])]
    (message,) = warnings_of(*arms)
    assert sentence("compare.not_recorded_for_both") in message
    assert sentence("compare.same_weights") not in pair_origin(arms)


def test_one_sentence_names_all_runs_whose_text_is_not_recorded() -> None:
    (message,) = warnings_of(arm("none", None), arm("loss_free", None), arm("aux_loss", "0123456789ab"))
    assert message.startswith(
        sentence("compare.text_not_recorded", arm="none", second="loss_free", third="aux_loss")
    )


def test_seeds_on_different_text_are_no_group() -> None:
    runs = [run(f"none-{seed}", "none", seed, "old" if seed < 2 else "new") for seed in range(4)]
    groups = [one for one in arms_of(runs) if one.is_group]
    assert [one.run_ids for one in groups] == [["none-0", "none-1"], ["none-2", "none-3"]]
    assert len({one.token for one in groups}) == 2


def test_the_default_comparison_is_made_of_one_text() -> None:
    runs = [
        run("none-a", "none", 0, "a"),
        run("free-a", "loss_free", 0, "a"),
        run("aux-b", "aux_loss", 0, "b"),
    ]
    arms = default_arms(arms_of(runs))
    assert {one.first.corpus_digest for one in arms} == {"a"}
