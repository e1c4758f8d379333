"""Lines on standard input, and what a switch makes of a schedule."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sentences import sentence
from waiting import wait_for

from explorer.cli.control import Control, Stop, Switch, read_command
from explorer.config.presets import RULE_DEFAULTS, arm_config, get_preset
from explorer.config.rule_text import parse_rules
from explorer.config.run import BalancerConfig, RunConfig
from explorer.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def test_the_two_commands() -> None:
    assert read_command('{"command": "stop"}\n') == Stop()
    assert read_command('{"command": "switch", "rules": "loss_free:u=0.01"}') == Switch("loss_free:u=0.01")
    assert read_command(json.dumps({"command": "switch", "rules": "none", "by": "me"})) == Switch("none")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "stop",
        "{",
        "[]",
        "null",
        '{"command": "dance"}',
        '{"command": ["stop"]}',
        '{"command": "switch"}',
        '{"command": "switch", "rules": null}',
        '{"command": "switch", "rules": ["loss_free"]}',
        "[" * 100_000,
        '{"command": "stop"} {"command": "stop"}',
    ],
)
def test_what_is_no_command_gets_one_sentence(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert read_command(line) is None
    message = capsys.readouterr().err.strip()
    assert message.startswith("control: ")
    assert len(message.splitlines()) == 1
    assert len(message) < 300


class Lines:
    """Standard input that is made of these bytes and then stays open."""

    def __init__(self, lines: list[bytes]) -> None:
        self.reader, self.writer = os.pipe()
        os.write(self.writer, b"".join(lines))

    def fileno(self) -> int:
        return self.reader

    def end(self) -> None:
        """Whoever wrote is gone."""
        os.close(self.writer)

    def close(self) -> None:
        os.close(self.reader)


@pytest.fixture
def quiet_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explorer.cli.control.signal.signal", lambda *_: None)


@pytest.mark.usefixtures("quiet_signals")
def test_requests_come_in_order_and_noise_between_them_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = Lines(
        [
            b'{"command": "switch", "rules": "loss_free"}\n',
            b"\xff\xfe not text\n",
            b'{"command": "switch", "rules": "aux_loss:coeff=0.1"}\n',
            b'{"command": "switch", "rules": "none"}\n',
        ]
    )
    monkeypatch.setattr(sys, "stdin", lines)
    control = Control(control_stdin=True)
    control.defaults = RULE_DEFAULTS["paper_1b"]
    commands: list[str] = []

    def three() -> bool:
        commands.extend(f"{r.text} {r.rules()}" for r in control.take())
        return len(commands) == 3

    wait_for(three)
    assert [text.split()[0] for text in commands] == ["loss_free", "aux_loss:coeff=0.1", "none"]
    assert "bias_update_rate=0.001" in commands[0], "the preset's own meaning of a bare name"
    assert not control()
    assert not control.waiting()
    lines.end()
    wait_for(control)
    lines.close()


@pytest.mark.usefixtures("quiet_signals")
def test_a_run_without_control_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"command": "stop"}\n'))
    control = Control()
    assert not control()
    assert list(control.take()) == []


def test_a_line_that_is_no_command_leaves_the_run_alone(tmp_path: Path) -> None:
    """Through the real command line: bad JSON, an unknown rule, and the run goes on to its end."""
    command = [sys.executable, "-m", "explorer", "train", "--preset", "tiny", "--run-id", "run", "--json"]
    command += ["--control-stdin", "--balancer", "none", "--runs", str(tmp_path)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write('{oops\n{"command": "switch", "rules": "loss_fre"}\n')
        process.stdin.flush()
        last_line = process.stdout.readline()
        warnings = [line for line in process.stderr.read().splitlines() if line.startswith("control: ")]
    assert process.returncode == 0
    assert (json.loads(last_line)["state"], json.loads(last_line)["steps"]) == ("finished", 20)
    assert len(warnings) == 2
    assert "'{oops' " + sentence("control.unknown_command") in warnings[0]
    assert (
        sentence("control.switch_refused", rules="'loss_fre'")
        + ": balancer = 'loss_fre': "
        + sentence("errors.unknown_balancer")
        in warnings[1]
    )


def schedule(text: str, *switches: tuple[int, str]) -> str:
    balancer = BalancerConfig.parse(text)
    for step, rules in switches:
        balancer = balancer.switched(step, parse_rules(rules))
    return str(balancer)


def test_a_switch_joins_the_schedule_where_it_belongs() -> None:
    assert schedule("none", (4, "loss_free")) == "none/4/loss_free"
    assert schedule("none", (4, "loss_free"), (9, "none")) == "none/4/loss_free/9/none"
    assert schedule("none/400/aux_loss", (7, "loss_free")) == "none/7/loss_free/400/aux_loss"
    assert schedule("none/400/aux_loss", (500, "loss_free")) == "none/400/aux_loss/500/loss_free"


def test_what_was_planned_for_that_step_gives_way() -> None:
    assert schedule("none/400/aux_loss", (400, "loss_free")) == "none/400/loss_free"
    assert schedule("none/400/aux_loss", (400, "none")) == "none"


def test_rules_in_force_leave_no_change() -> None:
    assert schedule("loss_free", (4, "loss_free")) == "loss_free"
    assert schedule("none/3/loss_free", (5, "loss_free:u=0.003")) == "none/3/loss_free"
    assert schedule("none/3/loss_free", (5, "loss_free:u=0.004")).count("/") == 4


def test_the_digest_of_the_past_does_not_know_the_future() -> None:
    base = get_preset("tiny")
    later = base.switched(7, parse_rules("loss_free"))
    assert later.digest != base.digest
    assert [later.digest_until(s) == base.digest for s in (1, 6, 7, 8)] == [True, True, True, False]
    assert later.digest_until(8) == later.digest
    assert later.pair_key == base.pair_key, "runs with a switch are pairs of those without"


@pytest.mark.parametrize(
    ("arm", "rules", "words"),
    [
        ("none", "loss_free:update_rule=proportional,bias_form=multiplicative,u=2", "multiplicative"),
        ("expert_choice", "loss_free", "routing=expert_choice"),
        ("hash", "aux_loss", "routing=hash"),
        ("dense", "z_loss", "routing=dense"),
    ],
)
def test_rules_that_do_not_fit_the_run_are_refused_as_in_its_configuration(
    arm: str, rules: str, words: str
) -> None:
    config = arm_config(get_preset("tiny"), arm)
    with pytest.raises(ConfigError, match=words):
        config.switched(5, parse_rules(rules))


def test_a_switch_beyond_the_last_step_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"balancer\.schedule\.step = 20"):
        get_preset("tiny").switched(20, parse_rules("loss_free"))
    assert isinstance(get_preset("tiny").switched(19, parse_rules("loss_free")), RunConfig)
