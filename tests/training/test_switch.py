"""Other rules while a run trains: the record says so, and repeats the run without hands."""

import itertools
import json
import os
import signal
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from forked import needs_fork_server, start_training
from kills import Killed, kill_at  # noqa: F401 (a fixture)
from sentences import pattern, sentence
from switch_requests import ScheduledSwitches
from tiny import make_tiny_config, make_tiny_corpus

from explorer.cli import main
from explorer.config.presets import arm_config, get_preset
from explorer.config.rule_text import parse_rules
from explorer.config.run import RunConfig
from explorer.errors import ConfigError
from explorer.recording import RunFolder, run_info_from_config, run_writer
from explorer.recording.run_writer import RunWriter
from explorer.records.records import EventRecord, LoadRecord, MemoryRecorder, Record, StepRecord
from explorer.running import into_folder as running
from explorer.running.into_folder import package_versions, resume_run, train_run
from explorer.training import TrainResult, train

LF = "loss_free:bias_update_rate=0.01"
STORIES: dict[str, tuple[str, dict[int, str | list[str]]]] = {
    "rescue": ("none", {4: LF}),
    "there and back": ("none", {3: LF, 6: "none", 9: LF}),
    "a bias survives": (LF, {5: "loss_free:bias_update_rate=0.05"}),
    "another form of bias": (LF, {5: "loss_free:bias_form=multiplicative"}),
    "from bias to loss": (LF, {5: "aux_loss:coeff=0.1", 7: "aux_loss:coeff=0.1,scope=sequence"}),
    "steps that shrink": ("none", {2: "loss_free:step_decay=harmonic", 8: "quantile"}),
    "before a planned one": (f"none/8/{LF}", {4: "aux_loss"}),
    "in its place": (f"none/8/{LF}", {8: "aux_loss"}),
    "two at once": ("none", {4: ["aux_loss", LF]}),
    "in the last step": ("none", {11: LF}),
}


def train_with(
    balancer: str, by_step: Any, **changes: Any
) -> tuple[TrainResult, MemoryRecorder, ScheduledSwitches]:
    """Train with somebody at the button."""
    config, recorder, switches = (
        make_tiny_config(balancer, **changes),
        MemoryRecorder(),
        ScheduledSwitches(by_step),
    )
    result = train(config, recorder, corpus=make_tiny_corpus(), switches=switches, on_step=switches.on_step)
    return result, recorder, switches


def exact(recorder: MemoryRecorder) -> list[tuple[str, dict[str, Any]]]:
    """Every record with the bits of its arrays, without the clock."""

    def bits(value: Any) -> Any:
        return (str(value.dtype), value.tolist()) if isinstance(value, np.ndarray) else value

    return [
        (type(r).__name__, {k: bits(v) for k, v in vars(r).items() if k != "wall_time_s"})
        for r in recorder.records
    ]


@cache
def story_run(story: str) -> tuple[TrainResult, MemoryRecorder, ScheduledSwitches]:
    return train_with(*STORIES[story])


@pytest.mark.parametrize("story", STORIES)
def test_a_switched_run_is_repeated_by_its_configuration_bit_for_bit(story: str) -> None:
    result, live, _ = story_run(story)
    kept = json.loads(json.dumps(live.configs[-1].to_dict()))
    assert result.config == live.configs[-1] == RunConfig.from_dict(kept)
    again = MemoryRecorder()
    repeated = train(RunConfig.from_dict(kept), again, corpus=make_tiny_corpus())
    assert exact(live) == exact(again)
    assert again.configs == [], "without hands nothing has to be added"
    assert repeated.figures == result.figures


@pytest.mark.parametrize("story", STORIES)
def test_the_rules_in_force_are_those_of_the_record(story: str) -> None:
    result, live, _ = story_run(story)
    for step, load in zip(live.of(StepRecord), live.of(LoadRecord), strict=True):
        rules = result.config.balancer.rules_at(step.step)
        moves_bias = any(rule.moves_bias for rule in rules)
        assert (load.expert_bias_LE is not None) == moves_bias
    changes = [(c.step, "balancer_changed") for c in result.config.balancer.schedule]
    assert [(e.step, e.kind) for e in live.of(EventRecord)] == changes


class Watched(MemoryRecorder):
    """Notes the order in which it hears things."""

    def __init__(self) -> None:
        super().__init__()
        self.moments: list[str] = []

    def record(self, record: Record) -> None:
        self.moments.append(f"{type(record).__name__} {record.step}")
        super().record(record)

    def rules_changed(self, config: RunConfig) -> None:
        self.moments.append(f"now {config.balancer}")
        super().rules_changed(config)


def test_the_record_comes_before_the_first_step_under_the_new_rules() -> None:
    recorder, switches = Watched(), ScheduledSwitches({4: LF})
    train(
        make_tiny_config(), recorder, corpus=make_tiny_corpus(), switches=switches, on_step=switches.on_step
    )
    at = recorder.moments.index(f"now none/4/{LF}")
    assert "LoadRecord 3" in recorder.moments[:at]
    assert recorder.moments[at + 1] == "EventRecord 4"
    assert not any("Record 4" in word for word in recorder.moments[:at])


REFUSED = [
    ("none", "loss_fre", sentence("errors.unknown_balancer_choose", names="aux_loss")),
    ("none", "loss_free:speed=1", "loss_free.speed"),
    ("none", "none/8/loss_free", sentence("errors.unknown_balancer")),
    ("none", "", ""),
    ("none", "loss_free+quantile", "moves the bias"),
    ("none", "loss_free:bias_form=multiplicative,update_rule=proportional,u=2", sentence("errors.below")),
    ("expert_choice", "loss_free", sentence("config.nothing_to_balance_with", routing="expert_choice")),
    ("none", "expert_choice", sentence("errors.unknown_balancer")),
]


@pytest.mark.parametrize(("arm", "text", "words"), REFUSED)
def test_what_cannot_be_followed_changes_nothing_and_leaves_a_sentence(
    arm: str, text: str, words: str
) -> None:
    config = arm_config(make_tiny_config(), arm)
    recorder, control, switches = MemoryRecorder(), MemoryRecorder(), ScheduledSwitches({4: text})
    corpus = make_tiny_corpus()
    result = train(config, recorder, corpus=corpus, switches=switches, on_step=switches.on_step)
    train(config, control, corpus=corpus)
    assert result.config == config
    assert recorder.configs == []
    assert len(switches.answers) == 1
    events = recorder.of(EventRecord)
    if words:
        assert words in switches.answers[0]
        assert [(e.step, e.kind, e.detail) for e in events] == [(4, "switch_refused", switches.answers[0])]
    else:  # an empty text is `none`, which is in force
        assert "in force already" in switches.answers[0]
    recorder.records = [r for r in recorder.records if r not in events]
    assert exact(recorder) == exact(control)


def test_of_several_requests_the_last_good_one_counts() -> None:
    result, recorder, switches = train_with("none", {4: ["aux_loss", "magic", LF, "loss_free:u=-1"]})
    assert str(result.config.balancer) == f"none/4/{LF}"
    assert len(recorder.configs) == 1
    assert len(switches.answers) == 4
    assert sentence("control.switch_refused", rules="'magic'") in switches.answers[0]
    assert switches.answers[1] == sentence(
        "control.switch_overtaken", rules="'aux_loss'", later=f"{LF!r}", step=4
    )
    assert sentence("control.switch_refused", rules="'loss_free:u=-1'") in switches.answers[2]
    assert switches.answers[3] == sentence(
        "control.switch_accepted", rules=f"{LF!r}", step=4, label="loss-free u=0.01 (global batch scope)"
    )


def test_the_rule_in_force_is_no_change() -> None:
    result, recorder, switches = train_with(LF, {4: "loss_free:u=0.01"})
    assert str(result.config.balancer) == LF
    assert recorder.configs == recorder.of(EventRecord) == []
    assert switches.answers == [sentence("control.switch_unchanged", rules="'loss_free:u=0.01'")]


def test_a_request_before_the_first_step_waits_for_the_second() -> None:
    result, _, _ = train_with("none", {0: LF})
    assert str(result.config.balancer) == f"none/1/{LF}"


def test_after_the_last_step_it_is_too_late_and_the_run_says_so() -> None:
    result, recorder, switches = train_with("none", {12: LF})
    assert (result.state, str(result.config.balancer)) == ("finished", "none")
    assert switches.answers == [sentence("control.switch_after_the_end", rules=f"{LF!r}", steps=12)]
    assert [(e.step, e.kind) for e in recorder.of(EventRecord)] == [(12, "switch_refused")]


def test_a_run_that_no_longer_fits_into_this_machine_is_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come from a larger machine."""
    stopped = train_run(get_preset("tiny"), tmp_path, run_id="run", should_stop=lambda: True)
    status = (stopped.path / "status.json").read_bytes()
    monkeypatch.setattr(running, "machine_memory", lambda: 1000)
    with pytest.raises(ConfigError, match=pattern("control.most_on_this_machine")):
        resume_run(stopped.path)
    assert (stopped.path / "status.json").read_bytes() == status


def test_a_stop_goes_before_a_switch_and_the_run_can_be_resumed(tmp_path: Path) -> None:
    config, switches = get_preset("tiny"), ScheduledSwitches({6: LF})
    stopped = train_run(
        config,
        tmp_path,
        run_id="run",
        should_stop=lambda: switches.step >= 6,
        on_step=switches.on_step,
        switches=switches,
    )
    assert stopped.result.state == "stopped"
    assert sentence("control.switch_too_late", step=6) in switches.answers[0]
    folder = RunFolder(stopped.path)
    assert folder.info.balancer == "none"
    again = ScheduledSwitches({6: LF}, start=6)
    resumed = resume_run(stopped.path, on_step=again.on_step, switches=again)
    assert (resumed.result.state, str(resumed.config.balancer)) == ("finished", f"none/6/{LF}")
    assert RunFolder(stopped.path).read("events")["kind"].to_list() == ["balancer_changed"]


def frames(path: Path, table: str = "expert_loads") -> pl.DataFrame:
    frame = RunFolder(path).read(table).drop("run_id")
    return frame.sort(frame.columns)


def test_a_run_folder_follows_and_its_config_repeats_it_on_the_command_line(tmp_path: Path) -> None:
    switches = ScheduledSwitches({5: "loss_free:u=0.01", 12: "aux_loss", 16: "none"})
    live = train_run(
        get_preset("tiny"),
        tmp_path,
        run_id="live",
        preset="tiny",
        on_step=switches.on_step,
        switches=switches,
    )
    info = RunFolder(live.path).info
    text = f"none/5/{LF}/12/aux_loss/16/none"
    config = RunConfig.from_dict(info.config)
    assert (str(config.balancer), info.balancer) == (text, text)
    expected = run_info_from_config(config, run_id="live", preset="tiny")
    for name in ("config_digest", "pair_key", "balancer_label", "balancer_family", "count_scope", "name"):
        assert getattr(info, name) == getattr(expected, name), name
    assert info.balancer_family == "scheduled"
    assert info.pair_key == get_preset("tiny").pair_key
    # Rewriting the description leaves what was true when the run was made.
    assert info.created_at <= RunFolder(live.path).attempts[0].started_at < expected.created_at
    assert info.versions == package_versions()
    file = tmp_path / "config.json"
    file.write_text(json.dumps(info.config), encoding="utf-8")
    arguments = [
        "--config",
        str(file),
        "--preset",
        "tiny",
        "--run-id",
        "again",
        "--runs",
        str(tmp_path),
        "--json",
    ]
    assert main(["train", *arguments]) == 0
    again = tmp_path / "again"
    for table in ("expert_loads", "events", "evals", "eval_loads", "sequence_loads", "layer_steps"):
        assert frames(live.path, table).equals(frames(again, table)), table
    assert RunFolder(again).info.config_digest == info.config_digest
    # The rules did act: the bias of the first rule starts at 0 and moves.
    bias = frames(live.path).filter(pl.col("step").is_between(5, 11))["expert_bias"]
    assert bias.null_count() == 0
    assert bias.abs().max() > 0  # type: ignore[operator]


def test_a_name_given_by_a_person_stays(tmp_path: Path) -> None:
    switches = ScheduledSwitches({5: LF})
    run = train_run(
        get_preset("tiny"), tmp_path, run_id="run", name="mine", on_step=switches.on_step, switches=switches
    )
    assert RunFolder(run.path).info.name == "mine"


class Crash(Exception):
    pass


@pytest.mark.parametrize("killed_after", [7, 8, 9, 13])
def test_a_killed_run_resumes_with_its_switches_and_equals_the_unbroken_one(
    tmp_path: Path, killed_after: int
) -> None:
    """Switches at 6 and 12; checkpoints at 4, 8 and 12, so that a switch lies before and behind them."""
    config = get_preset("tiny").with_setting("training.checkpoint_interval", 4)
    switches = ScheduledSwitches({6: LF, 12: "none"})

    def on_step(done: int, total: int) -> None:
        switches.on_step(done, total)
        if done == killed_after:
            raise Crash

    with pytest.raises(Crash):
        train_run(config, tmp_path, run_id="run", on_step=on_step, switches=switches)
    recorded = RunConfig.from_dict(RunFolder(tmp_path / "run").info.config)
    assert str(recorded.balancer) == f"none/6/{LF}" + ("/12/none" if killed_after > 12 else "")
    resumed = resume_run(tmp_path / "run")
    whole = train_run(recorded, tmp_path, run_id="whole")
    assert resumed.result.figures == whole.result.figures
    for table in ("expert_loads", "events", "eval_loads"):
        assert frames(resumed.path, table).equals(frames(whole.path, table)), table


def test_a_checkpoint_from_before_a_switch_belongs_to_the_run_and_to_no_other(tmp_path: Path) -> None:
    """The document may be newer than the newest checkpoint: the checkpoint knows only what it has seen."""
    from explorer.errors import TrainingError

    config, corpus = make_tiny_config("none", checkpoint_interval=4), make_tiny_corpus()
    train(config, MemoryRecorder(), corpus=corpus, checkpoint_dir=tmp_path)
    later = config.switched(9, parse_rules(LF))
    rest, whole = MemoryRecorder(), MemoryRecorder()
    train(later, rest, corpus=corpus, checkpoint_dir=tmp_path, resume_from=8)
    train(later, whole, corpus=corpus)
    assert exact(rest) == [row for row in exact(whole) if row[1]["step"] >= 8]
    earlier = config.switched(7, parse_rules(LF))
    with pytest.raises(TrainingError, match=pattern("errors.other_configuration")):
        train(earlier, MemoryRecorder(), corpus=corpus, checkpoint_dir=tmp_path, resume_from=8)


def test_a_switch_before_a_planned_change_can_be_resumed_from_before_both(tmp_path: Path) -> None:
    """The checkpoint of step 4 was written when only the planned change was known."""
    config = arm_config(get_preset("tiny"), "none/16/aux_loss")
    config = config.with_setting("training.checkpoint_interval", 4)
    switches = ScheduledSwitches({6: LF})

    def on_step(done: int, total: int) -> None:
        switches.on_step(done, total)
        if done == 7:
            raise Crash

    with pytest.raises(Crash):
        train_run(config, tmp_path, run_id="run", on_step=on_step, switches=switches)
    resumed = resume_run(tmp_path / "run")
    assert str(resumed.config.balancer) == f"none/6/{LF}/16/aux_loss"
    whole = train_run(resumed.config, tmp_path, run_id="whole")
    assert frames(resumed.path).equals(frames(whole.path))


def switching_life(path: Path) -> None:
    """Steps 0 to 3, a switch, steps 4 to 6, everything written down at once."""
    config = get_preset("tiny")
    info = run_info_from_config(config, run_id="run")
    recorder = RunWriter.create(path, info)
    for step in range(7):
        if step == 4:
            recorder.rules_changed(config.switched(4, parse_rules(LF)))
            recorder.record(EventRecord(step=4, kind="balancer_changed", detail="now"))
        loads = np.full((config.model.num_moe_layers, config.model.num_experts), step)
        recorder.record(StepRecord(step=step, tokens_seen=step, lm_loss=1.0))
        recorder.record(LoadRecord(step=step, tokens_LE=loads))
        recorder.step_done(step)
        recorder.flush()
    recorder.finish("finished")


def test_a_kill_at_every_change_of_the_disk_leaves_the_old_or_the_new_document(
    tmp_path: Path,
    kill_at: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_writer, "FLUSH_INTERVAL_S", float("inf"))
    old, new = "none", f"none/4/{LF}"
    seen = set()
    for limit in itertools.count():
        folder = tmp_path / str(limit)
        folder.mkdir()
        kill_at(limit)
        try:
            switching_life(folder)
            survived = True
        except Killed:
            survived = False
        kill_at(10**9)
        if not (folder / "run").exists():
            continue
        run = RunFolder(folder / "run")
        assert run.info.balancer in (old, new)
        assert str(RunConfig.from_dict(run.info.config).balancer) == run.info.balancer
        steps = run.read("expert_loads", ["step"])["step"]
        last = -1 if steps.is_empty() else int(steps.max())  # type: ignore[arg-type]
        if last >= 4 or run.read("events").height:
            assert run.info.balancer == new, "a switch in the loads must be in the record"
        seen.add((run.info.balancer, last >= 4))
        if survived:
            break
    assert seen == {(old, False), (new, False), (new, True)}


@needs_fork_server
def test_sigkill_around_the_moment_of_the_switch(tmp_path: Path) -> None:
    """A real trainer, told through its pipe and killed a moment later; then resumed and repeated."""
    for turn, pause in enumerate((0.0, 1.5)):
        name = f"run{turn}"
        process = start_training(tmp_path, name, num_steps=4000, checkpoint_interval=25)
        path = tmp_path / name
        end = time.monotonic() + 90
        while not (path.exists() and RunFolder(path).last_step >= 30):
            assert time.monotonic() < end
            time.sleep(0.02)
        assert process.send(b'{"command": "switch", "rules": "loss_free:u=0.01"}\n')
        time.sleep(pause)
        os.kill(process.pid, signal.SIGKILL)
        process.end(end)
        process.hang_up()
        process.release()
        folder = RunFolder(path)
        config = RunConfig.from_dict(folder.info.config)
        with_bias = folder.read("expert_loads", ["step", "expert_bias"]).drop_nulls("expert_bias")["step"]
        if len(with_bias):
            (change,) = config.balancer.schedule
            assert change.step == with_bias.min()
        if turn == 1:
            assert len(with_bias), "after more than a second it has begun"
            # Bit for bit, and without waiting for 4,000 steps: stopped soon after the resume.
            until = config.balancer.schedule[0].step + 60
            resumed = resume_run(path, should_stop=_after(until))
            repeated = train_run(
                config, tmp_path, run_id="again", should_stop=_after(resumed.result.last_step)
            )
            assert frames(path).equals(frames(repeated.path))


def _after(step: int) -> Any:
    count = itertools.count()
    return lambda: next(count) >= step
