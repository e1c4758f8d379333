"""Every command against values that nobody can mean: one sentence, exit code 2, nothing written."""

import errno
import json
from contextlib import suppress
from pathlib import Path

import pytest

from explorer.cli import main
from explorer.errors import ConfigError

DIGITS = "9" * 5000
LETTERS = "n" * 5000
NO_UTF8 = "a\udcffb"
"""What Python makes of a byte that is no UTF-8 in an argument."""
TINY = ("--preset", "tiny", "--runs", "runs")

REFUSED = [
    (("app", "--port", "²"), "--port = '²': must be a port"),
    (("app", "--port", DIGITS), "--port = '999"),
    (("app", "--port", "-1"), "--port = '-1'"),
    (("app", "--runs", LETTERS), "too long"),
    (("app", "--runs", "file"), "--runs = 'file': is not a folder"),
    (("train", *TINY, "--balancer", "none/²/loss_free"), "balancer.schedule.step = '²'"),
    (("train", *TINY, "--balancer", f"none/{DIGITS}/loss_free"), "balancer.schedule.step = '999"),
    (("train", *TINY, "--balancer", f"none/{'9' * 18}/loss_free"), "training.num_steps (20)"),
    (("train", *TINY, "--balancer", LETTERS), "is not a known balancer"),
    (("train", *TINY, "--balancer", NO_UTF8), "--balancer = 'a\\udcffb': holds bytes that are no UTF-8"),
    (("train", *TINY, "--seed", "9" * 30), "must be at most 9,223,372,036,854,775,807"),
    (("train", *TINY, "--seed", DIGITS), "must be at most 9,223,372,036,854,775,807"),
    (("train", *TINY, "--seed", "²"), "--seed = '²': must be a whole number of at least 0"),
    (("train", *TINY, "--seed", "٣"), "--seed = '٣': must be a whole number of at least 0"),
    (("train", *TINY, "--seed", "1_000"), "--seed = '1_000': must be a whole number of at least 0"),
    (("train", *TINY, "--seed", "-1"), "--seed = '-1': must be a whole number of at least 0"),
    (("train", *TINY, "--name", NO_UTF8), "--name = 'a\\udcffb': holds bytes that are no UTF-8"),
    (("train", *TINY, "--run-id", LETTERS), "must be 1 to 100 of the characters"),
    (("train", *TINY, "--run-id", NO_UTF8), "--run-id"),
    (("train", *TINY, "--config", "deep.json"), "--config = 'deep.json': is nested too deep"),
    (("train", *TINY, "--config", "digits.json"), "--config = 'digits.json': cannot be read"),
    (("train", *TINY, "--config", "list.json"), "config = []: must be a table"),
    (("train", *TINY, "--config", LETTERS), "too long"),
    (("train", *TINY, "--set", f"model.top_k={LETTERS}"), "model.top_k = 'nnn"),
    (("train", *TINY, "--set", f"training.learning_rate={DIGITS}"), "must be a finite number"),
    (("train", *TINY, "--set", NO_UTF8), "--set = 'a\\udcffb': holds bytes"),
    (("train", "--resume", LETTERS), "too long"),
    (("compare", *TINY, "--jobs", "0"), "--jobs = 0: must be at least 1"),
    (("compare", *TINY, "--jobs", "-3"), "--jobs = -3: must be at least 1"),
    (("compare", *TINY, "--seeds", f"0,{DIGITS}"), "must be at most 9,223,372,036,854,775,807"),
    (("compare", *TINY, "--seeds", "0,-1"), "--seeds = '-1': must be a whole number of at least 0"),
    (("compare", *TINY, "--seeds", f"0,{'9' * 30}"), "must be at most"),
    (("compare", *TINY, "--arms", f"none,none/{DIGITS}/loss_free"), "balancer.schedule.step = '999"),
    (("runs", "--runs", LETTERS), "too long"),
    (("runs", "--runs", "file"), "is not a folder"),
    (("ingest", "--runs", LETTERS), "too long"),
    (("export", LETTERS), "RUN = 'nnn"),
    (("export", "--view", LETTERS), "--view = 'nnn"),
    (("export", "--format", LETTERS), "--format = 'nnn"),
    (("export", "--runs", LETTERS), "too long"),
    (("export", "--view", "overview", "--width-mm", DIGITS), "width_mm = inf"),
    (("export", "--view", NO_UTF8), "--view = 'a\\udcffb'"),
]  # fmt: skip


def name_of(case: object) -> str:
    """A short name of a test, whatever the value is."""
    words = [word if len(word) < 20 and word.isascii() else f"{word[:3]!a}" for word in map(str, case)]  # type: ignore[call-overload]
    return " ".join(word for word in words if word not in TINY)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with the files that the table names, and an index of its own."""
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "deep.json").write_text("[" * 100_000 + "]" * 100_000)
    (tmp_path / "digits.json").write_text(f'{{"training": {{"seed": {DIGITS}}}}}')
    (tmp_path / "list.json").write_text("[]")
    monkeypatch.chdir(tmp_path)
    for variable in ("EXPLORER_RUNS", "EXPLORER_SHIPPED_RUNS"):
        monkeypatch.setenv(variable, str(tmp_path / "nothing"))
    monkeypatch.setenv("EXPLORER_INDEX", str(tmp_path / "index.duckdb"))
    return tmp_path


@pytest.mark.parametrize(("arguments", "words"), REFUSED, ids=[name_of(case) for case, _ in REFUSED])
def test_nonsense_is_one_short_sentence_and_code_2(arguments, words, elsewhere, capsys) -> None:
    assert main(list(arguments)) == 2
    printed = capsys.readouterr()
    sentence = printed.err.strip()
    assert sentence.startswith(f"explorer {arguments[0]}: ")
    assert len(sentence.splitlines()) == 1
    assert len(sentence) < 1200, "the value is shortened"
    assert words in sentence
    assert printed.out == ""
    assert not (elsewhere / "runs").exists()


@pytest.mark.parametrize("port", ["²", "٣", DIGITS, "", "0", "65536", " 80"])
def test_a_port_of_the_environment_is_held_to_the_same_rule(port, monkeypatch, capsys) -> None:
    monkeypatch.setenv("PORT", port)
    assert main(["app"]) == 2
    assert "must be a port from 1 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("EXPLORER_LIMITS", "experts=3", "EXPLORER_LIMITS = 'experts=3': is not a known limit"),
        ("EXPLORER_LIMITS", "queue=²", "queue = '²': must be a whole number"),
        ("EXPLORER_READ_ONLY", "perhaps", "EXPLORER_READ_ONLY = 'perhaps': must be 1 or 0"),
    ],
)
def test_a_setting_of_the_host_is_checked_before_the_server_starts(
    variable, value, words, monkeypatch, capsys
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr("explorer.cli.app.serve", lambda arguments: pytest.fail("it started"))
    # Whatever else listens on this machine.
    monkeypatch.setattr("explorer.cli.app.choose_port", lambda port, address: 8501)
    assert main(["app"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"explorer app: {words}")


@pytest.mark.parametrize("option", [("train", "--gpus", LETTERS), ("compare", "--jobs", DIGITS), (LETTERS,)])
def test_what_the_parser_refuses_is_short_as_well(option, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(list(option))
    assert end.value.code == 2
    assert len(capsys.readouterr().err) < 1200


HOSTILE = [
    None, True, -1, 0, 1.5, 10**30, float("nan"), float("inf"), "", "²", "x" * 5000, [], [[]], {}, {"a": 1},
    "\udcff",
]  # fmt: skip


def test_every_field_of_a_configuration_refuses_or_takes_any_value(elsewhere, monkeypatch) -> None:
    """A file of `--config` can hold anything: what is wrong with it is always a ConfigError."""
    from explorer.config.presets import get_preset
    from explorer.config.run import RunConfig

    tiny = get_preset("tiny")
    for section, fields in tiny.to_dict().items():
        for name in [*fields, "unknown"]:
            for value in HOSTILE:
                data = tiny.to_dict()
                data[section][name] = value
                with suppress(ConfigError):
                    RunConfig.from_dict(json.loads(json.dumps(data)))
        for value in HOSTILE:
            if value != {}:
                with pytest.raises(ConfigError):
                    RunConfig.from_dict({**tiny.to_dict(), section: value})


def test_what_the_machine_refuses_is_a_sentence_and_a_fault_of_ours_keeps_its_traceback(
    monkeypatch, capsys
) -> None:
    def fails(error: Exception):
        def command(options: object) -> int:
            raise error

        monkeypatch.setattr("explorer.cli.listing.schema_command", command)

    fails(OSError(errno.ENOSPC, "No space left on device", "/somewhere/x"))
    assert main(["schema"]) == 2
    assert capsys.readouterr().err.startswith("explorer schema: '/somewhere/x': No space left on device; ")
    for fault in (FileNotFoundError(errno.ENOENT, "No such file", "ours.toml"), KeyError("ours")):
        fails(fault)
        with pytest.raises(type(fault)):
            main(["schema"])
