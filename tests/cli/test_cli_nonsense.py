"""Every command against values that nobody can mean: one sentence, exit code 2, nothing written."""

import errno
import json
from contextlib import suppress
from pathlib import Path

import pytest
from sentences import sentence

from explorer.cli import main
from explorer.errors import ConfigError

DIGITS = "9" * 5000
LETTERS = "n" * 5000
NO_UTF8 = "a\udcffb"
"""What Python makes of a byte that is no UTF-8 in an argument."""
TINY = ("--preset", "tiny", "--runs", "runs")
COUNT = sentence("errors.whole_number_of_at_least") + " 0"
BELOW_2_63 = sentence("errors.at_most") + " 9,223,372,036,854,775,807"

REFUSED = [
    (("app", "--port", "²"), "--port = '²': " + sentence("errors.port")),
    (("app", "--port", DIGITS), "--port = '999"),
    (("app", "--port", "-1"), "--port = '-1'"),
    (("app", "--runs", LETTERS), "too long"),
    (("app", "--runs", "file"), "--runs = 'file': " + sentence("errors.folder")),
    (("train", *TINY, "--balancer", "none/²/loss_free"), "balancer.schedule.step = '²'"),
    (("train", *TINY, "--balancer", f"none/{DIGITS}/loss_free"), "balancer.schedule.step = '999"),
    (("train", *TINY, "--balancer", f"none/{'9' * 18}/loss_free"), "training.num_steps (20)"),
    (("train", *TINY, "--balancer", LETTERS), sentence("errors.unknown_balancer")),
    (("train", *TINY, "--balancer", NO_UTF8), "--balancer = 'a\\udcffb': " + sentence("cli.not_utf8")),
    (("train", *TINY, "--seed", "9" * 30), BELOW_2_63),
    (("train", *TINY, "--seed", DIGITS), BELOW_2_63),
    (("train", *TINY, "--seed", "²"), "--seed = '²': " + COUNT),
    (("train", *TINY, "--seed", "٣"), "--seed = '٣': " + COUNT),
    (("train", *TINY, "--seed", "1_000"), "--seed = '1_000': " + COUNT),
    (("train", *TINY, "--seed", "-1"), "--seed = '-1': " + COUNT),
    (("train", *TINY, "--name", NO_UTF8), "--name = 'a\\udcffb': " + sentence("cli.not_utf8")),
    (("train", *TINY, "--run-id", LETTERS), sentence("cli.name_characters", most=100)),
    (("train", *TINY, "--run-id", NO_UTF8), "--run-id"),
    (("train", *TINY, "--config", "deep.json"), "--config = 'deep.json': " + sentence("cli.nested_too_deep")),
    (("train", *TINY, "--config", "digits.json"),
     "--config = 'digits.json': " + sentence("errors.read_failed")),
    (("train", *TINY, "--config", "list.json"), "config = []: " + sentence("errors.table")),
    (("train", *TINY, "--config", LETTERS), "too long"),
    (("train", *TINY, "--set", f"model.top_k={LETTERS}"), "model.top_k = 'nnn"),
    (("train", *TINY, "--set", f"training.learning_rate={DIGITS}"), sentence("errors.finite_number")),
    (("train", *TINY, "--set", NO_UTF8), "--set = 'a\\udcffb': " + sentence("cli.not_utf8_short")),
    (("train", "--resume", LETTERS), "too long"),
    (("compare", *TINY, "--jobs", "0"), "--jobs = 0: " + sentence("errors.at_least") + " 1"),
    (("compare", *TINY, "--jobs", "-3"), "--jobs = -3: " + sentence("errors.at_least") + " 1"),
    (("compare", *TINY, "--seeds", f"0,{DIGITS}"), BELOW_2_63),
    (("compare", *TINY, "--seeds", "0,-1"), "--seeds = '-1': " + COUNT),
    (("compare", *TINY, "--seeds", f"0,{'9' * 30}"), sentence("errors.at_most")),
    (("compare", *TINY, "--arms", f"none,none/{DIGITS}/loss_free"), "balancer.schedule.step = '999"),
    (("runs", "--runs", LETTERS), "too long"),
    (("runs", "--runs", "file"), sentence("errors.folder")),
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
    message = printed.err.strip()
    assert message.startswith(f"explorer {arguments[0]}: ")
    assert len(message.splitlines()) == 1
    assert len(message) < 1200, "the value is shortened"
    assert words in message
    assert printed.out == ""
    assert not (elsewhere / "runs").exists()


@pytest.mark.parametrize("port", ["²", "٣", DIGITS, "", "0", "65536", " 80"])
def test_a_port_of_the_environment_is_held_to_the_same_rule(port, monkeypatch, capsys) -> None:
    monkeypatch.setenv("PORT", port)
    assert main(["app"]) == 2
    assert sentence("errors.port_between", low=1, high=65535) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        (
            "EXPLORER_LIMITS",
            "experts=3",
            "EXPLORER_LIMITS = 'experts=3': " + sentence("errors.unknown_limit"),
        ),
        ("EXPLORER_LIMITS", "queue=²", "queue = '²': " + sentence("errors.whole_number")),
        ("EXPLORER_READ_ONLY", "perhaps", "EXPLORER_READ_ONLY = 'perhaps': " + sentence("cli.one_or_zero")),
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

        monkeypatch.setattr("explorer.cli.schema.schema_command", command)

    fails(OSError(errno.ENOSPC, "No space left on device", "/somewhere/x"))
    assert main(["schema"]) == 2
    assert capsys.readouterr().err.startswith("explorer schema: '/somewhere/x': No space left on device; ")
    for fault in (FileNotFoundError(errno.ENOENT, "No such file", "ours.toml"), KeyError("ours")):
        fails(fault)
        with pytest.raises(type(fault)):
            main(["schema"])
