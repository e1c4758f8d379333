"""`verify`: clean on what was recorded, and every kind of damage is found and named exactly."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from sentences import sentence
from store_runs import make_info, random_counts, record_steps, write_run
from tiny import make_tiny_config, make_tiny_corpus

from explorer.cli import main
from explorer.errors import StoreError
from explorer.recording import RunFolder, run_info_from_config
from explorer.recording.run_writer import RunWriter
from explorer.records.records import RankLoadRecord
from explorer.store import derive as derive_module
from explorer.training import train
from explorer.verify import Check, verify_runs
from explorer.verify import figures as figures_module

RUNS = Path(__file__).resolve().parents[2] / "data" / "runs"
NAMES = ["documents", "checksums", "keys", "sums", "biases", "results", "figures"]
CLEAN = {"documents": "ok", "checksums": "ok", "keys": "ok", "sums": "ok", "results": "ok", "figures": "ok"}
STEPS = 12
ARMS_CHECKED = (
    "none",
    "loss_free:u=0.01,update_rule=proportional,centred=true",
    "loss_free:bias_form=multiplicative,update_rule=rms",
    "loss_free:u=0.01,freeze_after_step=5+aux_loss",
    "loss_free:step_decay=sqrt",
    "loss_free:load_ema=0.9",
    "loss_free:load_ema=0.5,update_rule=proportional,centred=true,step_decay=sqrt,freeze_after_step=9",
    "none/6/loss_free",
    "loss_free/6/loss_free:bias_form=multiplicative",
)
"""Every way in which a bias may move, or not."""


def record(runs: Path, arm: str, run_id: str = "run", stop: int | None = None, **changes: Any) -> Path:
    """Train the tiny model into a run folder; `stop`: stop there and resume from a checkpoint."""
    config, corpus = make_tiny_config(arm, probe_tokens=32, **changes), make_tiny_corpus()
    recorder = RunWriter.create(runs, run_info_from_config(config, run_id=run_id))
    first = None
    if stop is not None:
        given = iter(range(stop + 1))
        checkpoints = runs / "checkpoints"
        train(config, recorder, lambda: next(given) == stop, corpus=corpus, checkpoint_dir=checkpoints)
        recorder.finish("stopped")
        recorder, first = RunWriter.resume(recorder.path, stop), stop
    folder = None if first is None else runs / "checkpoints"
    result = train(config, recorder, corpus=corpus, checkpoint_dir=folder, resume_from=first)
    recorder.set_results(result.figures)
    recorder.finish("finished")
    return recorder.path


def verify(path: Path) -> dict[str, Check]:
    (report,) = verify_runs([path])
    assert [check.name for check in report.checks] == NAMES
    return {check.name: check for check in report.checks}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("sound"), "loss_free:u=0.01")


@pytest.fixture
def run(sound: Path, tmp_path: Path) -> Path:
    """A copy of its own, to be damaged."""
    return Path(shutil.copytree(sound, tmp_path / "runs" / "run"))


def rewrite(run: Path, table: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Change rows as older software would have written them: without checksums."""
    (path,) = run.glob(f"{table}-*.parquet")
    change(pl.read_parquet(path)).write_parquet(path)


def edit(run: Path, name: str, **fields: Any) -> None:
    document = json.loads((run / name).read_text())
    (run / name).write_text(json.dumps({**document, **fields}))


def cell(**keys: Any) -> pl.Expr:
    return pl.all_horizontal(pl.col(name) == value for name, value in keys.items())


def value_at(run: Path, table: str, column: str, **keys: Any) -> Any:
    return RunFolder(run).read(table).filter(cell(**keys))[column].item()


def setter(column: str, value: Any, **keys: Any) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda rows: rows.with_columns(
        pl.when(cell(**keys)).then(pl.lit(value)).otherwise(column).cast(rows.schema[column]).alias(column)
    )


class TestClean:
    @pytest.mark.parametrize("arm", ARMS_CHECKED)
    def test_what_was_just_recorded(self, arm: str, tmp_path: Path) -> None:
        checks = verify(record(tmp_path, arm))
        moved = sum("loss_free" in rule for rule in arm.split("/")) / (arm.count("/") // 2 + 1)
        assert {name: check.status for name, check in checks.items()} == {**CLEAN, "biases": "ok"}
        restarts = (
            8 if "multiplicative" in arm and "/" in arm else 0
        )  # a bias that starts anew is not an update
        assert checks["biases"].compared == moved * STEPS * 8 - restarts

    @pytest.mark.parametrize(
        ("arm", "changes", "reason"),
        [
            ("quantile", {}, sentence("bias_step.reads_all_scores")),
            ("none", {"routing": "expert_choice"}, None),
            ("none", {"top_p": 0.6}, None),
        ],
    )
    def test_what_the_counts_do_not_settle_is_said(
        self, arm: str, changes: dict[str, Any], reason: str | None, tmp_path: Path
    ) -> None:
        checks = verify(record(tmp_path, arm, **changes))
        name, words = ("biases", reason) if reason else ("sums", sentence("verify.not_settled"))
        assert checks[name].status == "not recomputable"
        assert words in checks[name].reason
        others = {other: check.status for other, check in checks.items() if other != name}
        assert set(others.values()) == {"ok"}

    @pytest.mark.parametrize("stop", [3, 6])
    def test_a_resumed_run(self, stop: int, tmp_path: Path) -> None:
        checks = verify(record(tmp_path, "none/6/loss_free:u=0.01", stop=stop))
        assert {check.status for check in checks.values()} == {"ok"}

    def test_a_run_of_other_software(self, tmp_path: Path) -> None:
        write_run(tmp_path)
        checks = verify(tmp_path / "run")
        assert not [check for check in checks.values() if check.mismatches]
        assert checks["biases"].status == "not recomputable"
        assert checks["figures"].compared > 40 * 2 * 10

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("experts", [[2], [0, 1, 2, 3]])
    def test_a_bias_that_is_no_finite_number(self, value: float, experts: list[int], tmp_path: Path) -> None:
        """The spread of a layer is then what the index says: not a number, or infinite."""
        bias = np.tile(np.linspace(-3e4, 3e4, 4), (6, 2, 1))
        bias[3:, 1, experts] = value
        with RunWriter.create(tmp_path, make_info(num_steps=6)) as recorder:
            record_steps(recorder, random_counts(6, 2, 4), range(6), bias)
        checks = verify(tmp_path / "run")
        assert not [check for check in checks.values() if check.mismatches]
        assert checks["figures"].compared >= 6 * 2 * 11

    def test_a_bias_that_went_wrong_and_stays_wrong(self, run: Path) -> None:
        """From NaN every update leads to NaN, and the other experts go on."""
        for step in range(7, STEPS):
            rewrite(run, "expert_loads", setter("expert_bias", np.nan, step=step, layer=0, expert=3))
        rewrite(run, "eval_loads", lambda rows: rows.filter(pl.col("step") < 7))
        checks = verify(run)
        assert (checks["biases"].mismatches, checks["biases"].first.step) == (1, 7)  # where it went wrong

    def test_a_run_that_is_being_written(self, tmp_path: Path) -> None:
        write_run(tmp_path, finish=False)
        assert not [check for check in verify(tmp_path / "run").values() if check.mismatches]

    def test_shipped_runs_recompute_bit_for_bit(self) -> None:
        """One run with a switch of the rule; the command is run on all of them before a release."""
        checks = verify(RUNS / "standard-none-400-loss_free-seed0")
        assert {name: check.status for name, check in checks.items()} == {
            **CLEAN, "biases": "ok", "checksums": "not checksummed",
        }  # fmt: skip
        assert checks["biases"].compared == 400 * 4 * 16


class TestDamage:
    """Each changes one thing; the first difference names it, and every other check still runs."""

    def expect(self, run: Path, name: str, **difference: Any) -> dict[str, Check]:
        checks = verify(run)
        check = checks[name]
        assert check.status == "mismatch"
        assert check.first is not None
        found = {key: getattr(check.first, key) for key in difference}
        assert found == difference
        return checks

    def test_a_count_too_many(self, run: Path) -> None:
        before = value_at(run, "expert_loads", "tokens", step=5, layer=1, expert=2)
        rewrite(run, "expert_loads", setter("tokens", before + 1, step=5, layer=1, expert=2))
        checks = self.expect(run, "sums", table="expert_loads", step=5, layer=1, recorded=257, expected=256)
        assert checks["sums"].mismatches == 1
        assert checks["keys"].status == checks["figures"].status == "ok"

    def test_a_count_at_another_expert(self, run: Path) -> None:
        """The sum stays; in step 4 the loads of the sequences are there too."""
        one, other = (value_at(run, "expert_loads", "tokens", step=4, layer=1, expert=e) for e in (0, 1))
        rewrite(run, "expert_loads", setter("tokens", one - 1, step=4, layer=1, expert=0))
        rewrite(run, "expert_loads", setter("tokens", other + 1, step=4, layer=1, expert=1))
        self.expect(
            run, "sums", table="sequence_loads", step=4, layer=1, expert=0, recorded=one, expected=one - 1
        )

    def test_a_bias_that_is_off_by_one_unit_in_the_last_place(self, run: Path) -> None:
        before = value_at(run, "expert_loads", "expert_bias", step=7, layer=0, expert=3)
        after = np.nextafter(np.float32(before), np.float32(1))
        rewrite(run, "expert_loads", setter("expert_bias", after, step=7, layer=0, expert=3))
        checks = self.expect(
            run, "biases", table="expert_loads", column="expert_bias", step=7, layer=0, expert=3,
            recorded=float(str(after)), expected=float(str(np.float32(before))),
        )  # fmt: skip
        assert checks["biases"].mismatches == 2  # and what follows from it in step 8
        assert checks["biases"].compared == STEPS * 8

    def test_nothing_where_there_is_a_bias_and_the_reverse(self, run: Path, tmp_path: Path) -> None:
        """NULL says that there is no bias; NaN is one."""
        rewrite(run, "expert_loads", setter("expert_bias", None, step=7, layer=0, expert=3))
        self.expect(run, "biases", table="expert_loads", step=7, expert=3, recorded=None)
        plain = record(tmp_path / "plain", "none")
        rewrite(plain, "expert_loads", setter("expert_bias", np.nan, step=7, layer=0, expert=3))
        checks = self.expect(plain, "biases", table="expert_loads", step=7, expert=3, expected=None)
        assert checks["biases"].mismatches == 1
        assert checks["figures"].status == "ok"

    def test_a_count_that_only_the_memory_of_a_rule_has_seen(self, tmp_path: Path) -> None:
        """The counts of step 0 still act on the bias of a later step through the running mean."""
        run = record(tmp_path, "loss_free:load_ema=0.9,update_rule=proportional")
        one, other = (value_at(run, "expert_loads", "tokens", step=1, layer=1, expert=e) for e in (0, 1))
        rewrite(run, "expert_loads", setter("tokens", other, step=1, layer=1, expert=0))
        rewrite(run, "expert_loads", setter("tokens", one, step=1, layer=1, expert=1))
        assert one != other
        checks = self.expect(run, "biases", table="expert_loads", step=2, layer=1, expert=0)
        assert checks["biases"].mismatches > 2 * (STEPS - 3)

    def test_a_step_that_is_gone_ends_what_a_memory_can_tell(self, tmp_path: Path) -> None:
        run = record(tmp_path, "loss_free:load_ema=0.9")
        rewrite(run, "expert_loads", lambda rows: rows.filter(pl.col("step") != 6))
        check = verify(run)["biases"]
        assert (check.status, check.compared) == ("not recomputable", 5 * 8)
        assert sentence("verify.not_since_rule") in check.reason

    def test_the_bias_of_the_last_update(self, run: Path) -> None:
        wrong = setter("expert_bias", 0.5, step=STEPS, domain="low", layer=1, expert=0)
        rewrite(run, "eval_loads", wrong)
        self.expect(run, "biases", table="eval_loads", step=STEPS, layer=1, expert=0, recorded=0.5)

    def test_the_bias_of_a_probe(self, run: Path) -> None:
        def change(rows: pl.DataFrame) -> pl.DataFrame:
            hit = (pl.col("step") == 1) & (pl.col("layer") == 1) & (pl.col("token") == 9)
            return rows.with_columns(
                pl.when(hit).then(pl.col("expert_bias").list.eval(pl.element() + 1)).otherwise("expert_bias")
            )

        assert 1 in set(RunFolder(run).read("probe_scores")["step"])
        rewrite(run, "probe_scores", change)
        self.expect(run, "biases", table="probe_scores", step=1, layer=1, expert=0)

    def test_a_step_that_is_gone(self, run: Path) -> None:
        rewrite(run, "expert_loads", lambda rows: rows.filter(pl.col("step") != 6))
        checks = self.expect(run, "keys", table="expert_loads", step=6, layer=None, expected="a row")
        assert checks["biases"].compared == (STEPS - 2) * 8  # neither into the step nor out of it

    def test_a_row_that_is_gone(self, run: Path) -> None:
        rewrite(run, "sequence_loads", lambda rows: rows.filter(
            ~cell(step=4, split="train", micro_batch=1, sequence=2, layer=1, expert=3)
        ))  # fmt: skip
        self.expect(
            run, "keys", table="sequence_loads", step=4, layer=1, expert=3, recorded=None,
            where="split train, micro_batch 1, sequence 2",
        )  # fmt: skip

    def test_a_key_that_is_there_twice(self, run: Path) -> None:
        rewrite(run, "expert_loads", lambda rows: pl.concat(
            [rows, rows.filter(cell(step=3, layer=1, expert=2))]
        ))  # fmt: skip
        checks = self.expect(
            run, "keys", table="expert_loads", step=3, layer=1, expert=2, recorded=2, expected=1
        )
        assert checks["biases"].compared == STEPS * 8

    def test_an_expert_that_the_run_does_not_have(self, run: Path) -> None:
        rewrite(run, "expert_loads", setter("expert", 4, step=3, layer=1, expert=2))
        checks = self.expect(run, "keys", table="expert_loads", column="expert", step=3, layer=1, recorded=4)
        assert checks["keys"].mismatches == 2  # the strange row, and the missing one

    def test_more_dropped_than_there_were(self, run: Path) -> None:
        rewrite(run, "expert_loads", setter("dropped_tokens", 999, step=3, layer=1, expert=2))
        self.expect(run, "sums", column="dropped_tokens", step=3, layer=1, expert=2, recorded=999)

    def test_an_evaluation_of_other_tokens(self, run: Path) -> None:
        rewrite(run, "evals", setter("num_tokens", 63, step=5, domain="low"))
        self.expect(
            run, "sums", table="eval_loads", step=5, layer=0, expected=126, where="split held_out, domain low"
        )

    def test_a_flipped_bit(self, run: Path) -> None:
        path = run / "layer_steps-g1.parquet"
        content = bytearray(path.read_bytes())
        content[60] ^= 4
        path.write_bytes(content)
        checks = self.expect(run, "checksums", table="layer_steps", where=path.name)
        assert "layer_steps-g1.parquet " + sentence("errors.damaged") in checks["checksums"].first.sentence
        assert checks["biases"].status == checks["results"].status == "ok"
        assert checks["figures"].status == "mismatch"  # the index refuses the run
        assert str(run) in checks["figures"].first.note

    @pytest.mark.parametrize("name", ["perplexity", "max_vio_batch", "max_vio_global", "effective_experts"])
    def test_a_figure_of_the_results(self, name: str, run: Path) -> None:
        results = json.loads((run / "status.json").read_text())["results"]
        right = results[name]
        results[name] *= 1 + 1e-6
        edit(run, "status.json", results=results)
        checks = self.expect(
            run, "results", table="status.json", column=f"results.{name}", recorded=results[name]
        )
        assert checks["results"].first.expected == pytest.approx(right, rel=1e-12)

    def test_a_figure_of_a_domain(self, run: Path) -> None:
        results = json.loads((run / "status.json").read_text())["results"]
        results["perplexity_by_domain"]["high"] = None
        edit(run, "status.json", results=results)
        self.expect(run, "results", column="results.perplexity_by_domain.high", recorded=None)

    def test_a_description_that_was_changed(self, run: Path) -> None:
        edit(run, "run.json", seed=5)
        self.expect(run, "documents", table="run.json", column="seed", recorded=5, expected=0)

    @pytest.mark.parametrize(
        ("column", "sql"),
        [
            ("idle_experts", ("w.idle_experts,", "w.idle_experts + (w.step = 4)::INT,")),
            ("max_vio", ("w.max_vio,", "w.max_vio + (w.step = 4)::INT / 1e6,")),
            ("max_vio_mean100", ("w.mean100,", "w.mean100 + (w.step = 4)::INT,")),
            ("bias_spread", ("w.spread,", "w.spread * (w.step <> 4)::INT,")),
        ],
    )
    def test_a_figure_of_the_index(
        self, column: str, sql: tuple[str, str], run: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert sql[0] in derive_module.LAYER_METRICS
        monkeypatch.setattr(derive_module, "LAYER_METRICS", derive_module.LAYER_METRICS.replace(*sql))
        checks = self.expect(run, "figures", table="layer_metrics", column=column, step=4, layer=0)
        assert checks["figures"].mismatches == 2  # one per layer

    def test_a_summary_of_the_index(self, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        wrong = derive_module.LAYER_SUMMARY.replace("final.effective,", "final.effective + layer,")
        monkeypatch.setattr(derive_module, "LAYER_SUMMARY", wrong)
        self.expect(run, "figures", table="layer_summary", column="effective_experts", step=None, layer=1)

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (KeyError("no such figure"), "KeyError: 'no such figure'"),
            (AssertionError(), "AssertionError"),
            (OSError(5, "Input/output error"), "Input/output error"),
            (MemoryError("4 PiB"), "MemoryError: 4 PiB"),
            (StoreError("The index is gone."), "StoreError: The index is gone"),
            (duckdb.Error("no such column"), "Error: no such column"),
        ],
    )
    def test_damage_that_no_check_expects_ends_that_check_only(
        self, error: Exception, words: str, run: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(run: object) -> None:
            raise error

        monkeypatch.setattr(figures_module, "run_figures", fail)
        says = f"{run} " + sentence("errors.read_failed") + f" ({words}); "
        checks = self.expect(run, "results")
        assert checks["results"].first.recorded.startswith(says)
        assert {check.status for name, check in checks.items() if name != "results"} == {"ok"}

    def test_an_interruption_is_no_damage(self, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(run: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(figures_module, "run_figures", interrupt)
        with pytest.raises(KeyboardInterrupt):
            verify(run)

    def test_a_folder_that_fails_in_a_new_way_keeps_no_other_from_being_checked(
        self, run: Path, sound: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(folder: RunFolder, run_id: str = run.name, right: Any = RunFolder.status.fget) -> Any:
            if folder.path == run:
                raise MemoryError("too many rows")
            return right(folder)

        monkeypatch.setattr(RunFolder, "status", property(fail))
        reports = list(verify_runs([run, sound]))
        assert [report.is_clean for report in reports] == [False, True]
        assert "(MemoryError: too many rows)" in reports[0].checks[0].first.sentence

    def test_loads_of_ranks_that_do_not_add_up(self, tmp_path: Path) -> None:
        counts = random_counts(3, 2, 4)
        recorder = RunWriter.create(tmp_path, make_info())
        split = np.stack([counts // 2, counts - counts // 2], 1)  # [S, R, L, E]
        split[1, 1, 1, 3] += 1
        for step in range(3):
            recorder.record(RankLoadRecord(step=step, tokens_RLE=split[step]))
            record_steps(recorder, counts[step : step + 1], [step])
        recorder.finish("finished")
        self.expect(
            recorder.path, "sums", table="rank_loads", step=1, layer=1, expert=3,
            recorded=counts[1, 1, 3] + 1, expected=counts[1, 1, 3],
        )  # fmt: skip

    def test_random_flips_of_checksummed_files_are_all_found(self, run: Path) -> None:
        rng = random.Random(5)
        for path in sorted(run.glob("*.parquet")):
            content = path.read_bytes()
            damaged = bytearray(content)
            damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            path.write_bytes(damaged)
            assert verify(run)["checksums"].status != "ok", path.name
            path.write_bytes(content)


class TestCommand:
    def test_it_goes_on_after_a_mismatch_and_ends_with_1(
        self, run: Path, sound: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = Path(shutil.copytree(sound, run.parent / "sound"))
        edit(other, "run.json", run_id="sound")
        edit(run, "run.json", seed=5)
        rewrite(run, "expert_loads", setter("tokens", 0, step=5, layer=1, expert=2))
        assert main(["verify", "--runs", str(run.parent)]) == 1
        said = capsys.readouterr().out
        assert sentence("verify.seed_expected", seed=5, expected=0) in said
        assert "expert_loads, step 5, layer 1: " + sentence("verify.assignments") in said
        assert "1 of 2 runs differ" in said
        assert main(["verify", "sound", "--runs", str(run.parent)]) == 0
        assert "1 runs, no mismatch" in capsys.readouterr().out

    def test_json(self, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
        rewrite(run, "expert_loads", setter("tokens", 0, step=5, layer=1, expert=2))
        assert main(["verify", str(run), "--json"]) == 1
        (report,) = json.loads(capsys.readouterr().out)
        assert (report["run_id"], report["status"]) == ("run", "mismatch")
        assert [check["name"] for check in report["checks"]] == NAMES
        first = next(check for check in report["checks"] if check["name"] == "sums")["first"]
        assert (first["table"], first["step"], first["layer"], first["expected"]) == (
            "expert_loads",
            5,
            1,
            256,
        )

    def test_a_damaged_folder_is_a_mismatch_and_the_others_are_checked(
        self, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(run, run.parent / "broken")
        (run.parent / "broken" / "run.json").write_text("{")
        assert main(["verify", "--runs", str(run.parent)]) == 1
        said = capsys.readouterr().out
        assert "run.json is " + sentence("errors.damaged_or_cut_short") in said
        assert "1 of 2 runs differ" in said

    def test_a_folder_of_runs_is_no_damaged_run(self, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
        shutil.copytree(run.parent, run.parent / "sweep")
        assert main(["verify", "--runs", str(run.parent)]) == 0
        assert "1 runs, no mismatch" in capsys.readouterr().out

    @pytest.mark.parametrize("name", [".", "../run", "checkpoints/.."])
    def test_a_run_may_be_named_from_inside(
        self, name: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (run / "checkpoints").mkdir(exist_ok=True)
        monkeypatch.chdir(run)
        assert main(["verify", name]) == 0
        assert capsys.readouterr().out.startswith("run  ")

    def test_a_name_that_is_not_unicode_is_printed_all_the_same(
        self, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(run, run.parent / os.fsdecode(b"bad\xff"))
        for options in ([], ["--json"]):
            assert main(["verify", "--runs", str(run.parent), *options]) == 1
            said = capsys.readouterr().out
            said.encode()
            assert "bad\\udcff" in said.replace("\\\\", "\\")

    @pytest.mark.parametrize("name", ["nothing", "x" * 5000, "a/b"])
    def test_an_unknown_run_is_a_sentence(
        self, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["verify", name, "--runs", str(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert "explorer verify: RUN = " in said
        assert said.count("\n") == 1

    def test_without_duckdb_the_rest_is_checked(self, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "explorer.store", None)
        checks = verify(run)
        assert checks["figures"].status == "not recomputable"
        assert "DuckDB " + sentence("errors.not_installed") in checks["figures"].reason
        assert {check.status for name, check in checks.items() if name != "figures"} == {"ok"}


def test_biases_of_other_software_are_held_against_the_rule_that_run_json_states(tmp_path: Path) -> None:
    """Counts and biases of a loop of one's own, with the rule as text and no configuration."""
    counts = random_counts(6, 2, 4)
    moves = np.float32(0.001) * np.sign(counts.sum(-1, keepdims=True) - counts * 4).astype(np.float32)
    biases = np.zeros(counts.shape, np.float32)
    for step in range(1, 6):
        biases[step] = biases[step - 1] + moves[step - 1]
    for run_id, balancer in (
        ("right", "loss_free:u=0.001"),
        ("wrong", "loss_free:u=0.01"),
        ("unsaid", "none"),
    ):
        info = make_info(run_id, balancer=balancer, config={}, num_steps=6)
        with RunWriter.create(tmp_path, info) as recorder:
            record_steps(recorder, counts, range(6), biases)
    assert verify(tmp_path / "right")["biases"].status == "ok"
    assert verify(tmp_path / "wrong")["biases"].status == "mismatch"
    assert verify(tmp_path / "unsaid")["biases"].status == "not recomputable"
