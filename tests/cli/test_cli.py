"""The command line as a stranger uses it; in processes of its own where signals, pipes or a child matter."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from finished_child import Finished
from forked import needs_fork_server, start_training
from sentences import sentence

from explorer.cli import compare, main
from explorer.cli.report import comparison_table
from explorer.config.presets import get_preset
from explorer.metrics import uniform_reference
from explorer.recording import RunFolder
from explorer.running import run_queue

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


Here = Callable[..., tuple[str, str]]


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Here:
    """`here("runs", ..., code=0)`: a command in this process; what it printed, and its standard error."""

    def run(*arguments: str | Path, code: int = 0) -> tuple[str, str]:
        returned = main(list(map(str, arguments)))
        printed = capsys.readouterr()
        assert returned == code, printed.err
        return printed.out, printed.err

    return run


def start(*arguments: str | Path, **options: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "explorer", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, text=True, **options)  # type: ignore[call-overload, no-any-return]


def wait_for_step(path: Path, step: int, timeout_s: float = 90) -> None:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            if RunFolder(path).status.last_step >= step:
                return
        except Exception:  # the folder is still being made
            pass
        time.sleep(0.05)
    pytest.fail(f"{path.name} did not reach step {step} in {timeout_s} s")


@contextmanager
def trainings_here() -> Iterator[None]:
    """Comparisons train in this process; with children of their own they are tested by
    `test_the_baseline_of_the_held_out_text_is_that_of_the_tokens_that_were_counted`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_queue, "POLL_S", 0.005)
        patch.setattr(compare, "RunQueue", partial(run_queue.RunQueue, launch=Finished))
        yield


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    runs, output = tmp_path_factory.mktemp("runs"), io.StringIO()
    arguments = [
        "compare", "--preset", "tiny", "--arms", "none,aux_loss:scope=sequence,coeff=0.1,loss_free",
        "--seeds", "0,1", "--runs", str(runs), "--plain-ids", "--json",
    ]  # fmt: skip
    with trainings_here(), redirect_stdout(output):
        assert main(arguments) == 0
    return runs, json.loads(output.getvalue())


def test_compare_prints_one_json_array_with_every_arm_and_seed(compared):
    runs, rows = compared
    names = {
        "run_id", "path", "balancer", "count_scope", "seed", "perplexity", "max_vio_batch",
        "max_vio_global", "worst_layer", "tokens_per_second", "wall_time_s",
    }  # fmt: skip
    assert all(names <= row.keys() for row in rows)
    assert [(row["balancer"], row["count_scope"], row["seed"]) for row in rows] == [
        (balancer, scope, seed)
        for seed in (0, 1)
        for balancer, scope in (("none", "none"), ("aux_loss", "sequence"), ("loss_free", "global_batch"))
    ]
    for row in rows:
        assert Path(row["path"]).is_absolute()
        assert Path(row["path"]) == (runs / row["run_id"]).resolve()


def test_counts_of_every_recorded_step_and_layer_are_whole(compared):
    for row in compared[1]:
        loads = pl.read_parquet(f"{row['path']}/expert_loads*.parquet")
        per_layer = loads.group_by("step", "layer").agg(pl.col("tokens").sum())
        assert per_layer["tokens"].unique().to_list() == [16 * 4 * 2]  # tokens a step times top_k
        assert sorted(per_layer["step"].unique()) == list(range(20))


def test_arms_of_one_seed_start_from_the_same_weights_and_data(compared):
    first = {
        (row["balancer"], row["seed"]): pl.read_parquet(f"{row['path']}/steps*.parquet")["lm_loss"][0]
        for row in compared[1]
    }
    assert first["none", 0] == first["loss_free", 0] == first["aux_loss", 0]
    assert first["none", 1] == first["loss_free", 1] != first["none", 0]


def test_the_table_of_several_seeds_has_intervals_and_a_single_seed_has_none(compared, here):
    # Finished runs are read, not trained again.
    common = ("compare", "--preset", "tiny", "--arms", "none,loss_free", "--plain-ids", "--runs", compared[0])
    several, _ = here(*common, "--seeds", "0,1")
    single, _ = here(*common)
    assert "±" in several
    assert "paired difference" in several
    assert "±" not in single
    assert "Uniform-random routing" in single


def test_the_baseline_of_the_held_out_text_is_that_of_the_tokens_that_were_counted(tmp_path, here):
    # 1,000 tokens are planned; whole sequences of 64 over six domains make 768.
    printed, _ = here(
        "compare", "--preset", "tiny", "--arms", "none", "--runs", tmp_path, "--set", "corpus.name=mix",
        "--set", "training.final_eval_tokens=1000", "--set", "training.sequence_length=64", "--json",
    )  # fmt: skip
    rows = json.loads(printed)
    loads = pl.read_parquet(f"{rows[0]['path']}/eval_loads*.parquet")
    last = loads.filter(
        (pl.col("step") == pl.col("step").max()) & (pl.col("layer") == 0) & (pl.col("split") == "held_out")
    )
    assert rows[0]["held_out_tokens"] == last["tokens"].sum() // 2 == 768
    config = get_preset("tiny").with_setting("training.final_eval_tokens", 1000)
    sizes = (config.model.num_experts, config.model.top_k, 768, config.model.num_moe_layers)
    assert sentence(
        "cli.random_on_held_out", value=f"{uniform_reference(*sizes)[0]:.2g}"
    ) in comparison_table(rows, config)


def test_plain_ids_keep_a_finished_run(tmp_path, here):
    with trainings_here():
        check_plain_ids(tmp_path, here)


def check_plain_ids(tmp_path, here):
    common = ("compare", "--preset", "tiny", "--arms", "none", "--plain-ids", "--json", "--runs", tmp_path)
    once = json.loads(here(*common)[0])
    written = (tmp_path / "tiny-none-seed0" / "status.json").stat().st_mtime_ns
    assert json.loads(here(*common)[0]) == once
    assert (tmp_path / "tiny-none-seed0" / "status.json").stat().st_mtime_ns == written
    _, complaint = here(*common, "--set", "training.probe_tokens=32", code=2)
    assert sentence("errors.other_configuration") in complaint
    other = json.loads(here(*common, "--set", "training.num_steps=8")[0])
    assert other[0]["run_id"] == "custom-none-seed0"


def test_runs_lists_as_json_and_names_an_unreadable_one(compared, tmp_path, here):
    runs, rows = compared
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text('{"format_version": 1, "run')
    listed = json.loads(here("runs", "--runs", runs, "--runs", tmp_path, "--json")[0])
    by_id = {row["run_id"]: row for row in listed}
    assert {row["run_id"] for row in rows} | {"broken"} == by_id.keys()
    assert {row["state"] for row in listed if row["run_id"] != "broken"} == {"finished"}
    assert by_id["broken"]["state"] == "unreadable"
    assert "run.json" in by_id["broken"]["problem"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--preset", "huge"), ("preset = 'huge'", "quick")),
        (("--balancer", "magic"), ("'magic'", "loss_free")),
        (("--balancer", "aux_loss:scope=galaxy"), ("aux_loss.scope = 'galaxy'", "global_batch")),
        (("--balancer", "loss_free:speed=1"), ("loss_free.speed", "bias_update_rate")),
        (("--balancer", "aux_loss:coeff=-1"), ("aux_loss.coeff = -1", "at least 0")),
        (("--set", "corpus.name=wikipedia"), ("corpus.name = 'wikipedia'", "austen")),
        (("--set", "model.experts=3"), ("model.experts", "num_experts")),
        (("--set", "mode.top_k=3"), ("mode.top_k", "section")),
        (("--set", "model.top_k"), ("model.top_k", "'='")),
        (("--set", "model.top_k=5"), ("model.top_k = 5", "model.num_experts (4)")),
        (("--set", "model.top_k=two"), ("model.top_k = 'two'", "whole number")),
        (("--set", "model.num_heads=3"),
         ("model.hidden_size = 16", sentence("errors.multiple_of") + " model.num_heads (3)")),
        (("--set", "training.learning_rate=-0.1"), ("training.learning_rate = -0.1", "greater than 0")),
        (("--set", "training.learning_rate=nan"), ("training.learning_rate", "finite")),
        (("--set", "training.probe_tokens=17"), ("training.probe_tokens = 17", "multiple")),
        (("--balancer", "none/400/loss_free"), ("balancer.schedule.step = 400", "training.num_steps (20)")),
        (("--seed", "-1"), ("--seed = '-1'", "at least 0")),
        (("--config", "nowhere.json"), ("--config", sentence("errors.read_failed"))),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_code_2_and_nothing_written(arguments, words, tmp_path, capsys):
    runs = tmp_path / "runs"
    assert main(["train", "--preset", "tiny", "--runs", str(runs), *arguments]) == 2
    printed = capsys.readouterr()
    message = printed.err.strip()
    assert len(message.splitlines()) == 1, message
    for word in words:
        assert word in message
    assert printed.out == ""
    assert not runs.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--arms", "none,loss_free,none"), ("--arms", "twice")),
        (("--seeds", "0,x"), ("--seeds = 'x'", "whole number")),
        (("--seeds", "1,1"), ("--seeds", "twice")),
        (("--arms", "none/soon/loss_free"), ("balancer.schedule.step = 'soon'", "none/400/loss_free")),
        (("--arms", "aux_loss+aux_loss"), (sentence("errors.names_twice", name="aux_loss"), "keep one")),
    ],
)
def test_bad_comparisons_are_refused_as_well(arguments, words, tmp_path, capsys):
    assert main(["compare", "--preset", "tiny", "--runs", str(tmp_path / "runs"), *arguments]) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert not (tmp_path / "runs").exists()


def test_a_run_id_that_is_no_folder_name_is_refused(tmp_path, here):
    _, complaint = here(
        "train", "--preset", "tiny", "--run-id", "../escape", "--runs", tmp_path / "runs", code=2
    )
    assert "run_id = '../escape'" in complaint
    assert len(complaint.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_runs_folder_that_cannot_be_written_is_refused(tmp_path, here):
    (tmp_path / "file").write_text("in the way")
    for command in ("train", "compare"):
        _, complaint = here(command, "--preset", "tiny", "--runs", tmp_path / "file" / "runs", code=2)
        assert str(tmp_path / "file") in complaint
    assert (tmp_path / "file").read_text() == "in the way"


LONG = ("--preset", "tiny", "--set", "training.num_steps=100000", "--run-id", "long", "--json", "--runs")


def test_ctrl_c_leaves_a_readable_stopped_run(tmp_path):
    process = start("train", *LONG, tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    wait_for_step(tmp_path / "long", 20)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    steps = json.loads(output)["steps"]
    folder = RunFolder(tmp_path / "long")
    assert folder.status.state == "stopped"
    assert folder.read("steps")["step"].to_list() == list(range(steps))


@needs_fork_server
def test_a_closed_control_pipe_stops_the_run_and_so_does_the_command(tmp_path):
    for name, farewell in (("closed", b""), ("told", b'{"command": "stop"}\n')):
        process = start_training(tmp_path, name, num_steps=100_000)
        wait_for_step(tmp_path / name, 5)
        if farewell:
            assert process.send(farewell)
        else:
            process.hang_up()
        process.end(time.monotonic() + 60)
        process.hang_up()
        assert process.poll() == 0, process.output()
        assert RunFolder(tmp_path / name).status.state == "stopped"
        process.release()


@needs_fork_server
def test_a_killed_trainer_resumes_and_equals_an_unbroken_run(tmp_path, here):
    balancer = "loss_free:u=0.01/120/aux_loss"
    common = ("train", "--preset", "tiny", "--balancer", balancer, "--json")
    common += ("--set", "training.num_steps=200", "--set", "training.checkpoint_interval=30")
    here(*common, "--run-id", "whole", "--runs", tmp_path)
    process = start_training(tmp_path, "killed", balancer, num_steps=200, checkpoint_interval=30)
    wait_for_step(tmp_path / "killed", 40)
    os.kill(process.pid, signal.SIGKILL)
    process.end(time.monotonic() + 60)
    process.hang_up()
    process.release()
    killed = RunFolder(tmp_path / "killed")
    assert killed.status.state == "interrupted"
    acknowledged = killed.status.last_step
    assert killed.read("steps")["step"].to_list()[: acknowledged + 1] == list(range(acknowledged + 1))
    here("train", "--resume", tmp_path / "killed", "--json")
    whole, resumed = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "killed")
    assert resumed.status.results == whole.status.results
    for table in ("expert_loads", "evals", "eval_loads", "events", "sequence_loads", "layer_steps"):
        left = whole.read(table).drop("run_id")
        right = resumed.read(table).drop("run_id")
        assert left.sort(left.columns).equals(right.sort(right.columns)), table
    losses = [folder.read("steps").sort("step")["lm_loss"].to_list() for folder in (whole, resumed)]
    assert losses[0] == losses[1]
    assert not (tmp_path / "killed" / "checkpoints").exists()


def test_a_finished_run_is_not_resumed(compared, here):
    _, complaint = here("train", "--resume", compared[1][0]["path"], code=2)
    assert "finished" in complaint


def test_app_refuses_a_port_that_is_in_use_or_impossible(here):
    import socket

    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = str(busy.getsockname()[1])
        assert sentence("errors.port_in_use") in here("app", "--port", port, code=2)[1]
    assert sentence("errors.port") in here("app", "--port", "99999", code=2)[1]


def test_schema_prints_every_table(here):
    printed = json.loads(here("schema", "--json")[0])
    assert printed["expert_loads"][4]["name"] == "tokens"
    assert "expert_loads" in here("schema")[0]
