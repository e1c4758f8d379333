"""Every command and option, in one place."""

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from explorer.cli import convert_options, experiment_options, hosts, task_options
from explorer.cli.folder_options import add_run_folders
from explorer.config.presets import PRESETS
from explorer.config.routings import KINDS
from explorer.config.rule_text import RULES
from explorer.errors import ConfigError, shortened

Command = Callable[[argparse.Namespace], int]
RUNS = Path("runs")
FLAGS = {"run_name": "--name", "settings": "--set", "run": "RUN"}
"""Options whose values are stored under a different name."""


class Parser(argparse.ArgumentParser):
    """Truncates invalid values in messages, which argparse repeats in full."""

    def error(self, message: str) -> NoReturn:
        super().error(shortened(message))


def make_parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = Parser(
        prog="python -m explorer",
        description="Train, compare and explore the routing of small mixture-of-experts models.",
    )
    commands = parser.add_subparsers(dest="name", required=True, metavar="COMMAND")
    _train(commands)
    _compare(commands)
    _runs(commands)
    _app(commands)
    _ingest(commands)
    _schema(commands)
    _export(commands)
    _verify(commands)
    _diagnose(commands)
    _import(commands)
    _convert(commands)
    _evaluate(commands)
    _experiment(commands)
    return parser


def check_text(options: argparse.Namespace) -> None:
    """Reject arguments that are not UTF-8: run folders would hold them. Paths may hold any bytes."""
    for name, value in vars(options).items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and not _is_utf8(text):
                flag = FLAGS.get(name, "--" + name.replace("_", "-"))
                raise ConfigError(flag, text, "holds bytes that are not UTF-8", "write it in UTF-8")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _command(module: str, function: str) -> Command:
    """The function, imported on call: `runs` must not wait for torch."""

    def run(options: argparse.Namespace) -> int:
        return int(getattr(importlib.import_module(module), function)(options))

    return run


def _train(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    routings = [name for name in KINDS if name != "token_choice"]
    parser = commands.add_parser(
        "train",
        help="train one run and record it",
        description=f"Train one run. A balancer is none, or one or more of {', '.join(RULES)} joined by '+', "
        "each with settings, e.g. aux_loss:scope=sequence,coeff=0.01; none/400/loss_free changes the rule "
        f"at step 400. Or a routing instead: {', '.join(routings)}; e.g. expert_choice:chunk=128.",
    )
    _add_config(parser)
    parser.add_argument("--balancer", metavar="B", help="balancing rule, or routing (default: loss_free)")
    parser.add_argument("--seed", help="seed of weights and data order (default: 0)")
    parser.add_argument("--name", dest="run_name", help="a display name")
    parser.add_argument(
        "--run-id", help="folder name of the run (default: made from preset, balancer and time)"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="read the whole configuration from a JSON file"
    )
    parser.add_argument(
        "--resume", type=Path, metavar="RUN", help="resume the run in a stopped or killed run folder"
    )
    parser.add_argument(
        "--keep-model",
        action="store_true",
        help="keep the finished model in the run folder (model.pt), for `evaluate`",
    )
    parser.add_argument(
        "--control-stdin",
        action="store_true",
        help='read commands as JSON lines, {"command": "stop"} or {"command": "switch", "rules": '
        '"loss_free:u=0.003"}, and stop when the pipe closes',
    )
    parser.set_defaults(command=_command("explorer.cli.train", "train_command"))


def _compare(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "compare",
        help="train several balancers on the same weights and data",
        description="Train every arm with every seed. The arms of one seed share initial weights and data.",
    )
    _add_config(parser)
    parser.add_argument(
        "--arms",
        default="none,aux_loss,loss_free",
        metavar="A,B,…",
        help="balancers, e.g. none,aux_loss:scope=sequence,coeff=0.01,loss_free, and routings, e.g. "
        "expert_choice:chunk=128,hash,random,dense (default: %(default)s)",
    )
    parser.add_argument(
        "--seeds", default="0", metavar="0,1,…", help="seeds, e.g. 0,1,2 or 0-4 (default: %(default)s)"
    )
    parser.add_argument(
        "--jobs", type=int, help="number of runs at a time (default: one per core, at most 2)"
    )
    parser.add_argument(
        "--plain-ids",
        action="store_true",
        help="leave the time out of run ids; a finished run with the same id is kept, not retrained",
    )
    parser.set_defaults(command=_command("explorer.cli.compare", "compare_command"))


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset", default="quick", help=f"one of {', '.join(PRESETS)} (default: %(default)s)"
    )
    _add_settings(
        parser,
        "SECTION.FIELD=VALUE",
        "set one field of the configuration, e.g. model.top_k=4; may be repeated",
    )
    _add_runs(parser)
    _add_json(parser)


def _add_runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs", type=Path, default=RUNS, metavar="DIR", help="runs folder (default: %(default)s)"
    )


def _add_settings(parser: argparse.ArgumentParser, metavar: str, text: str) -> None:
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar=metavar, help=text)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def _runs(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("runs", help="list recorded runs")
    add_run_folders(parser)
    _add_json(parser)
    parser.set_defaults(command=_command("explorer.cli.listing", "runs_command"))


def _app(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("app", help="start the app in a browser")
    parser.add_argument("--port", help="port to listen on (default: PORT or 8501)")
    hosts.add_options(parser)
    _add_runs(parser)
    parser.set_defaults(command=_command("explorer.cli.app", "app_command"))


def _ingest(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("ingest", help="bring the DuckDB index up to date")
    add_run_folders(parser)
    parser.add_argument(
        "--index", type=Path, metavar="FILE", help="index file (default: in the user's cache folder)"
    )
    _add_json(parser)
    parser.set_defaults(command=_command("explorer.cli.listing", "ingest_command"))


def _schema(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("schema", help="print the tables and their columns")
    _add_json(parser)
    parser.set_defaults(command=_command("explorer.cli.schema", "schema_command"))


def _export(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "export",
        help="write figures, data or a bundle of a page, without a browser",
        description="Write the charts of a page of the app. Without --figure, all charts of the page. "
        "Formats: png, svg, pdf, html; csv, parquet; gif (an animation, --view replay); bundle (a zip of "
        "everything with a report).",
    )
    parser.add_argument(
        "run", nargs="*", metavar="RUN", help="ids or folders of runs (default: those the page opens with)"
    )
    parser.add_argument(
        "--view", metavar="PAGE", help="page (default: compare if runs are named, else overview)"
    )
    parser.add_argument("--format", default="bundle", metavar="F", help="file format (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("exports"), metavar="PATH", help="file or folder (default: exports)"
    )
    parser.add_argument("--figure", action="append", metavar="KEY", help="key of one chart; may be repeated")
    parser.add_argument("--list", action="store_true", help="list the charts of the page and exit")
    _add_settings(parser, "KEY=VALUE", "a parameter of the page's address, e.g. layer=2; may be repeated")
    parser.add_argument(
        "--width-mm", metavar="MM", help="width in millimetres, or one-column, two-columns, slide"
    )
    parser.add_argument(
        "--height-mm", type=float, metavar="MM", help="height in millimetres; text scales with it"
    )
    parser.add_argument("--font-pt", type=float, metavar="PT", help="text size of the axes (default: 8)")
    parser.add_argument("--dpi", type=int, help="resolution of a PNG (default: 300)")
    parser.add_argument("--title", action=argparse.BooleanOptionalAction, help="title and finding on top")
    parser.add_argument("--dark", action="store_true", default=None, help="draw on a dark background")
    parser.add_argument("--force", action="store_true", help="overwrite existing files")
    parser.add_argument(
        "--runs", type=Path, metavar="DIR", help="folder of your own runs (default: EXPLORER_RUNS or runs)"
    )
    parser.set_defaults(command=_command("explorer.cli.export", "export_command"))


def _verify(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "verify",
        help="check recorded runs for consistency",
        description="Check keys, sums and checksums of recorded runs, recompute every bias from the logged "
        "counts and every metric from the integers. Reports the first difference of each check and "
        "continues. "
        "Exit code 0: no difference; 1: a difference; 2: invalid input.",
    )
    parser.add_argument("run", nargs="*", metavar="RUN", help="ids or folders of runs (default: all runs)")
    add_run_folders(parser)
    _add_json(parser)
    parser.set_defaults(command=_command("explorer.cli.verify", "verify_command"))


def _diagnose(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "diagnose",
        help="say what is wrong with the routers of recorded runs",
        description="List what is wrong with the router of each run: collapse, dead experts, a bias that "
        "is frozen or has the wrong sign, and more; docs/health.md has every finding with its threshold. "
        "With --json, one object per line, one per run. Exit code 0 with or without findings; 2: invalid "
        "input.",
    )
    parser.add_argument(
        "run",
        nargs="*",
        metavar="RUN|FOLDER",
        help="ids or folders of runs, or folders that hold runs (default: all runs)",
    )
    add_run_folders(parser)
    _add_json(parser)
    parser.set_defaults(command=_command("explorer.cli.diagnose", "diagnose_command"))


def _import(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "import",
        help="import routing data from another system into a run folder",
        description="Import traces and statistics from training and serving systems; docs/importing.md "
        "has one command per system. Each run keeps a report of what was assumed, what was left out, and "
        "what does not add up.",
    )
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="files, or folders of one trace")
    parser.add_argument("--format", metavar="F", help="name of the format (default: detected from the file)")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a value that the file lacks, e.g. num_experts=60; may be repeated",
    )
    parser.add_argument("--list", action="store_true", help="list the formats and exit")
    parser.add_argument("--detect", action="store_true", help="print the format of each file and exit")
    parser.add_argument(
        "--control-stdin",
        action="store_true",
        help="report progress on standard error, and end when standard input closes",
    )
    _add_runs(parser)
    _add_json(parser)
    parser.set_defaults(command=_command("explorer.cli.importing", "import_command"))


def _convert(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "convert",
        help="write a run's loads in the file format of another system",
        description="Write the loads of a run as a placement or statistics file of SGLang, vLLM or EPLB, or "
        "as a table. docs/importing.md says what each system does with it.",
    )
    convert_options.add_options(parser)
    parser.set_defaults(command=_command("explorer.cli.convert", "convert_command"))


def _evaluate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "evaluate",
        help="run tasks on the kept model of a finished run",
        description="Run language tasks, long contexts and other expert selections on the model of a run "
        "that was trained with --keep-model; docs/evidence_tasks.md says what each measures.",
    )
    task_options.add_options(parser)
    _add_json(parser)
    parser.set_defaults(command=_command("explorer.cli.evaluate", "evaluate_command"))


def _experiment(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "experiment",
        help="test claims from the literature and report the verdicts",
        description=experiment_options.DESCRIPTION,
    )
    experiment_options.add_options(parser)
    parser.set_defaults(command=_command("explorer.cli.experiment", "experiment_command"))
