"""`convert`: a run's loads in a file format of another system."""

import argparse
import re
from pathlib import Path

from explorer.cli.console import say
from explorer.cli.run_paths import run_paths
from explorer.errors import ConfigError
from explorer.outward import FORMATS, convert
from explorer.outward.formats import Settings
from explorer.outward.loads import RunLoads

STEPS = re.compile(r"(\d{1,15})-(\d{1,15})")


def convert_command(options: argparse.Namespace) -> int:
    """Write one file; remarks go to standard error."""
    if options.list:
        for name, form in FORMATS.items():
            print(f"{name:<17} {form.label}")
        return 0
    for name in ("run", "to", "out"):
        if getattr(options, name) is None:
            flag = "RUN" if name == "run" else f"--{name}"
            raise ConfigError(flag, None, "is required", "see python -m explorer convert --help")
    out: Path = options.out
    if out.exists() and not options.force:
        raise ConfigError("--out", str(out), "exists already", "choose another place, or add --force")
    if not out.absolute().parent.is_dir():
        raise ConfigError("--out", str(out), "lies in a folder that does not exist", "make the folder first")
    (path,) = run_paths([options.run], options.runs)
    loads = RunLoads(path, *_span(options.steps))
    for remark in convert(loads, options.to, out, _settings(options)):
        say(remark)
    print(out)
    return 0


def _span(text: str | None) -> tuple[int, ...]:
    """First and last step, both inclusive."""
    if text is None:
        return ()
    match = STEPS.fullmatch(text)
    if match is None or int(match[1]) > int(match[2]):
        raise ConfigError("--steps", text, "must be FIRST-LAST, both inclusive", "write e.g. --steps 100-200")
    return int(match[1]), int(match[2])


def _settings(options: argparse.Namespace) -> Settings:
    values = {name: getattr(options, name) for name in ("ep_size", "redundant_experts", "num_layers")}
    for name, value in values.items():
        least, most = (1 if name == "ep_size" else 0), 65_536
        if not least <= value <= most:
            flag = "--" + name.replace("_", "-")
            raise ConfigError(flag, value, f"must be a whole number from {least} to {most}", "correct it")
    return Settings(**values)
