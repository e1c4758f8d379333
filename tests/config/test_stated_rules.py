"""What a run says of its rule: what follows from what was stated, and nothing more."""

import pytest
from sentences import sentence

from explorer.recording import RunInfo

SIZES = {"num_moe_layers": 2, "num_experts": 4, "top_k": 2, "tokens_per_step": 64, "num_steps": 40}


def stated(**fields: str) -> tuple[str, str, str, str]:
    info = RunInfo(run_id="run", name="", **SIZES, **fields)
    return info.balancer, info.balancer_label, info.balancer_family, info.count_scope


@pytest.mark.parametrize(
    ("fields", "completed"),
    [
        ({}, ("", "rule not stated", "unknown", "unknown")),
        ({"balancer_family": "none"}, ("none", "no balancing", "none", "none")),
        ({"balancer_family": "loss_free"}, ("", "loss_free", "loss_free", "unknown")),
        ({"balancer": "none"}, ("none", "no balancing", "none", "none")),
        ({"balancer_label": "no balancing"}, ("none", "no balancing", "none", "none")),
        (
            {"balancer": "loss_free:u=0.001"},
            (
                "loss_free:u=0.001",
                sentence("labels.loss_free", rate="0.001", scope="global batch"),
                "loss_free",
                "global_batch",
            ),
        ),
        ({"balancer_label": "loss-free u=0.001"}, ("", "loss-free u=0.001", "unknown", "unknown")),
        (
            {"balancer_label": "ours", "balancer_family": "loss_free", "count_scope": "sequence"},
            ("", "ours", "loss_free", "sequence"),
        ),
        ({"balancer": "our rule: 2x"}, ("our rule: 2x", "our rule: 2x", "unknown", "unknown")),
        ({"balancer": "none", "balancer_label": "baseline"}, ("none", "baseline", "none", "none")),
        ({"balancer": "hash"}, ("hash", "hash routing", "hash", "unknown")),
        (
            {"balancer": "none/400/loss_free"},
            (
                "none/400/loss_free",
                sentence("labels.none_then_loss_free", step=400, rate="0.003", scope="global batch"),
                "scheduled",
                "none/global_batch",
            ),
        ),
    ],
)
def test_the_fields_that_were_left_out_follow(fields: dict[str, str], completed: tuple[str, ...]) -> None:
    assert stated(**fields) == completed


def test_a_completed_run_is_read_back_as_it_was_written() -> None:
    for fields in ({}, {"balancer_label": "ours"}, {"balancer": "none", "balancer_label": "baseline"}):
        info = RunInfo(run_id="run", name="", **SIZES, **fields)
        assert RunInfo.from_dict(info.to_dict()) == info


def test_an_own_run_from_before_its_rule_had_a_family_gets_that_family() -> None:
    rule = {"balancer": "smebu:bias_update_rate=0.001", "balancer_family": "loss_free"}
    own = RunInfo(run_id="run", name="", **SIZES, **rule)
    assert RunInfo.from_dict(own.to_dict()).balancer_family == "smebu"
    recorded_elsewhere = RunInfo(run_id="run", name="", source="recorded", **SIZES, **rule)
    assert RunInfo.from_dict(recorded_elsewhere.to_dict()).balancer_family == "loss_free"
