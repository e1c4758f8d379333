"""A stand-in for `explorer train`, for tests of the queue that starts training runs."""

import sys
from pathlib import Path

from explorer.config.presets import arm_config, get_preset
from explorer.running.jobs import Job

# It writes down how it was started and every command, answers as a trainer does between other words, and
# ends when it is asked to or when its pipe closes.
TRAINER = """
import json, os, pathlib, sys
def option(name):
    return sys.argv[sys.argv.index(name) + 1]
folder = pathlib.Path(option("--runs"))
name = option("--run-id")
config = json.loads(pathlib.Path(option("--config")).read_text())
if name.startswith("bad"):
    print("explorer train: model.top_k = 9 \u2013 too many; lower it.", file=sys.stderr)
    print("a warning after it", file=sys.stderr)
    sys.exit(2)
if name.startswith("crash"):
    raise RuntimeError("out of luck")
if name.startswith("short"):
    sys.exit(0)
start = {"pid": os.getpid(), "argv": sys.argv[1:], "config": config}
(folder / (name + ".tmp")).write_text(json.dumps(start))
(folder / (name + ".tmp")).rename(folder / (name + ".json"))
print("a warning of somebody else", file=sys.stderr, flush=True)
commands = []
for line in sys.stdin:
    commands.append(json.loads(line))
    (folder / (name + ".commands")).write_text(json.dumps(commands))
    if commands[-1]["command"] == "stop":
        break
    print("control: switch to %r: from step 7 on." % commands[-1]["rules"], file=sys.stderr, flush=True)
(folder / (name + ".ended")).touch()
"""


def trainer_command(folder: Path) -> list[str]:
    """Write the stand-in into a folder; returns what stands before the options of `explorer train`."""
    script = folder / "trainer.py"
    script.write_text(TRAINER, encoding="utf-8")
    return [sys.executable, str(script)]


def job(runs: Path, run_id: str, arm: str = "none", preset: str | None = "tiny") -> Job:
    """A job of the smallest configuration. The stand-in fails for ids that begin with bad or crash, and
    ends at once for those that begin with short."""
    runs.mkdir(exist_ok=True)
    return Job(run_id=run_id, config=arm_config(get_preset("tiny"), arm), runs=runs, preset=preset)
