"""Changes of rules during a run, stopping, and resuming bit for bit."""

import numpy as np
import pytest
from reference import biases
from runs_in_memory import rows, train_tiny, trained
from sentences import pattern

from explorer.errors import TrainingError
from explorer.records.records import (
    EventRecord,
    LoadRecord,
    StepRecord,
)

CHANGES = {
    "none/6/loss_free:u=0.01": ("neutral", None),
    "loss_free:u=0.01/6/none/9/loss_free:u=0.01": ("neutral", None),
    "loss_free:u=0.01/6/loss_free:u=0.05": ("kept", None),
    "loss_free:u=0.01/6/loss_free:u=0.01,bias_form=multiplicative": ("neutral", None),
}


@pytest.mark.parametrize("arm", CHANGES)
def test_a_change_of_rules_is_an_event_and_takes_effect_in_its_step(arm: str) -> None:
    run = trained(arm)
    schedule = run.config.balancer.schedule
    events = run.of(EventRecord)
    assert [(event.step, event.kind) for event in events] == [(c.step, "balancer_changed") for c in schedule]
    loads = run.of(LoadRecord)
    for load, step in zip(loads, run.of(StepRecord), strict=True):
        rules = run.config.balancer.rules_at(load.step)
        assert (load.expert_bias_LE is None) == (rules == ())
        assert step.bias_update_rate == (rules[0].bias_update_rate if rules else None)
    change = schedule[-1]
    bias = loads[change.step].expert_bias_LE
    if CHANGES[arm][0] == "neutral":
        assert bias.tolist() == [[biases.NEUTRAL[change.rules[0].bias_form]] * 4] * 2
    else:
        before = loads[change.step - 1]
        expected = [
            biases.updated(b, c, 0.01)
            for b, c in zip(before.expert_bias_LE, before.tokens_LE.tolist(), strict=True)
        ]
        np.testing.assert_allclose(bias, expected, rtol=1e-5, atol=1e-7)
    assert "loss-free" in events[-1].detail


def test_up_to_a_change_the_run_equals_the_one_without_it() -> None:
    changed, control = trained("none/6/loss_free:u=0.01"), trained("none")
    assert rows(changed, StepRecord)[:6] == rows(control, StepRecord)[:6]
    # Step 6 is routed with the neutral bias: the first difference is in step 7.
    assert changed.of(LoadRecord)[6].tokens_LE.tolist() == control.of(LoadRecord)[6].tokens_LE.tolist()
    assert rows(changed, LoadRecord)[7:] != rows(control, LoadRecord)[7:]


# Around the change of rules for every kind of change; far from it, and without one, it makes no difference.
RESUMED = [
    *((arm, stop) for arm in CHANGES for stop in (5, 6, 7)),
    *((next(iter(CHANGES)), stop) for stop in (1, 11)),
    ("loss_free:u=0.01+aux_loss:coeff=0.1", 6),
    ("loss_free:bias_form=multiplicative,update_rule=rms", 6),
]


@pytest.mark.parametrize(("arm", "stop"), RESUMED)
def test_p15_a_resumed_run_equals_the_unbroken_one_bit_for_bit(arm: str, stop: int, tmp_path) -> None:
    whole = trained(arm)
    first = train_tiny(arm, stop_after=stop, checkpoint_dir=tmp_path)
    assert (first.result.state, first.result.last_step) == ("stopped", stop)
    rest = train_tiny(arm, checkpoint_dir=tmp_path, resume_from=stop)
    assert rows(first) == [row for row in rows(whole) if row["step"] < stop]
    assert rows(rest) == [row for row in rows(whole) if row["step"] >= stop]
    assert rest.weights_equal(whole)
    assert rest.result.figures == whole.result.figures


def test_p15_a_killed_run_resumes_from_its_newest_checkpoint(tmp_path) -> None:
    from explorer.training.checkpoints import latest_step

    arm = "none/6/loss_free:u=0.01"
    interval = {"checkpoint_interval": 3}
    whole = train_tiny(arm, **interval)

    class Killed(Exception):
        pass

    def kill(done: int, total: int) -> None:
        if done == 8:
            raise Killed

    with pytest.raises(Killed):
        train_tiny(arm, checkpoint_dir=tmp_path, on_step=kill, **interval)
    # The checkpoint of step 6 was written after the change of rules of step 6.
    assert latest_step(tmp_path) == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003.pt", "step-00000006.pt"]
    rest = train_tiny(arm, checkpoint_dir=tmp_path, resume_from=6, **interval)
    assert rows(rest) == [row for row in rows(whole) if row["step"] >= 6]
    assert rest.weights_equal(whole)


def test_a_damaged_or_missing_checkpoint_is_refused_by_name(tmp_path) -> None:
    with pytest.raises(TrainingError, match=r"step-00000004\.pt: .*" + pattern("errors.read_failed")):
        train_tiny("none", checkpoint_dir=tmp_path, resume_from=4)
    (tmp_path / "step-00000004.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(TrainingError, match=r"step-00000004\.pt: .*" + pattern("training.delete_checkpoint")):
        train_tiny("none", checkpoint_dir=tmp_path, resume_from=4)


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path) -> None:
    train_tiny("none", stop_after=4, checkpoint_dir=tmp_path)
    with pytest.raises(TrainingError, match=pattern("errors.other_configuration")):
        train_tiny("none", checkpoint_dir=tmp_path, resume_from=4, seed=1)


def test_stopping_before_the_first_step_leaves_nothing(tmp_path) -> None:
    run = train_tiny("loss_free", stop_after=0, checkpoint_dir=tmp_path)
    assert (run.result.state, run.result.last_step, run.recorder.records) == ("stopped", 0, [])
    assert list(tmp_path.iterdir()) == []
