"""The command line where a part is missing, and on consoles that know few characters."""

import io
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from sentences import sentence

from explorer.cli import extras, main
from explorer.cli.console import say

ROOT = Path(__file__).resolve().parents[2]
HERE = {"vl_convert": "vl-convert-python", "PIL": "pillow", "markdown_it": "markdown-it-py"}
"""Modules that are not called as their distribution is."""

WITHOUT = """
import runpy, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in {modules!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)
sys.meta_path.insert(0, Missing())
sys.argv = ["explorer", *{arguments!r}]
runpy.run_module("explorer", run_name="__main__", alter_sys=True)
"""


def without(modules: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line in an interpreter that does not find these modules."""
    code = WITHOUT.format(modules=modules, arguments=arguments)
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("ingest",), "app"),
        (("app",), "app"),
        (("export",), "app"),
        (("train", "--preset", "tiny"), "train"),
        (("compare", "--preset", "tiny"), "train"),
    ],
)
def test_a_base_installation_says_which_extra_a_command_needs(arguments, extra, tmp_path) -> None:
    done = without(extras.EXTRAS["app"] + extras.EXTRAS["train"], *arguments)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert sentence("cli.install_extra", extra=extra) in done.stderr
    assert done.stderr.startswith(f"explorer {arguments[0]}: ")


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("scipy", ("compare", "--preset", "tiny", "--arms", "none", "--seeds", "0,1")),
        ("pandas", ("app",)),
        ("starlette", ("app",)),
        ("altair", ("app",)),
    ],
)
def test_what_is_needed_later_is_missed_before_anything_is_done(module, arguments, tmp_path) -> None:
    done = without((module,), *arguments, "--runs", str(tmp_path / "runs"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"explorer {arguments[0]}: {module} " + sentence("errors.not_installed"))
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_library_of_two_extras_is_brought_by_either() -> None:
    message = str(extras.missing_library(ModuleNotFoundError("No module", name="scipy.special")))
    assert sentence("cli.install_app_or_train") in message


@pytest.mark.parametrize("arguments", [("runs", "--json"), ("schema", "--json"), ("--help",)])
def test_a_base_installation_lists_and_explains(arguments) -> None:
    done = without(extras.EXTRAS["app"] + extras.EXTRAS["train"], *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_a_missing_base_library_is_named_as_well() -> None:
    done = without(("polars",), "runs")
    assert done.returncode == 2
    assert "polars " + sentence("errors.not_installed") in done.stderr
    assert sentence("cli.install_base") in done.stderr


def test_a_module_of_ours_that_is_missing_is_a_fault_with_a_traceback() -> None:
    done = without(("explorer.records.tables",), "schema")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_the_extras_are_those_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == extras.DISTRIBUTION
    for extra, modules in extras.EXTRAS.items():
        named = {HERE.get(module, module) for module in modules}
        assert {line.split(">")[0].split("=")[0] for line in project["optional-dependencies"][extra]} == named
    assert {line.split(">")[0] for line in project["dependencies"]} <= set(extras.BASE)


@pytest.mark.parametrize("command", ["app", "export"])
def test_an_installed_package_without_its_pages_says_so(command, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(extras, "ROOT", tmp_path)
    assert main([command]) == 2
    message = capsys.readouterr().err
    assert "clone the repository" in message
    assert "[app]'" in message


def console(monkeypatch: pytest.MonkeyPatch, encoding: str) -> io.BytesIO:
    """Standard output and error of a console with this encoding."""
    written = io.BytesIO()
    for name in ("stdout", "stderr"):
        stream = io.TextIOWrapper(written, encoding=encoding, errors="strict", write_through=True)
        monkeypatch.setattr(sys, name, stream)
    return written


ENCODINGS = ("ascii", "cp1252", "cp932", "utf-8")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("command", ["train", "compare", "runs", "app", "ingest", "schema", "export"])
def test_help_prints_on_any_console(command, encoding, monkeypatch) -> None:
    written = console(monkeypatch, encoding)
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert b"usage:" in written.getvalue()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_finished_comparison_prints_its_table_on_any_console(encoding, tmp_path, monkeypatch) -> None:
    """An arm without loads has a dash in its table, several seeds have ±."""
    figures = {"perplexity": 20.0, "max_vio_batch": None, "max_vio_global": None, "worst_max_vio": None}

    def figures_of(job):
        label = "专家 α=0.01 – a label of somebody"
        return {
            **figures,
            "arm": job.config.arm,
            "label": label,
            "seed": job.config.seed,
            "tokens_per_second": 1,
        }

    monkeypatch.setattr("explorer.cli.compare.prepare", lambda *_: None)
    monkeypatch.setattr("explorer.cli.compare.run_jobs", lambda *_: None)
    monkeypatch.setattr("explorer.cli.compare.job_figures", figures_of)
    written = console(monkeypatch, encoding)
    common = ["compare", "--preset", "tiny", "--arms", "none,dense", "--runs", str(tmp_path)]
    assert main([*common, "--seeds", "0,1"]) == 0
    shown = written.getvalue().decode(encoding)
    plain = {"ascii": ("+-", "\\u4e13", "-"), "utf-8": ("±", "专家", "–")}
    for text in plain.get(encoding, ("0.01",)):
        assert text in shown


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_errors_and_bytes_that_are_no_text_print_on_any_console(encoding, monkeypatch) -> None:
    written = console(monkeypatch, encoding)
    assert main(["train", "--preset", "größer–专"]) == 2
    assert b"is not a known preset" in written.getvalue()
    say("a folder of bytes: \udcff")
    assert written.getvalue().rstrip().endswith(b"\\udcff")


def test_a_real_console_of_few_characters(tmp_path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    command = [sys.executable, "-m", "explorer", "compare", "--help"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"A,B,..." in done.stdout
