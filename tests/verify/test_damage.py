"""Every kind of damage is found by `verify` and named exactly."""

import json
import random
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from sentences import sentence
from store_runs import make_info, random_counts, record_steps
from verified import STEPS, cell, edit, record, rewrite, setter, value_at, verify

from explorer.errors import StoreError
from explorer.recording import RunFolder
from explorer.recording.run_writer import RunWriter
from explorer.records.records import RankLoadRecord
from explorer.store import derive as derive_module
from explorer.verify import Check, verify_runs
from explorer.verify import figures as figures_module


class TestDamage:
    """Each changes one thing; the first difference names it, and every other check still runs."""

    def expect(self, run: Path, name: str, **difference: Any) -> dict[str, Check]:
        checks = verify(run)
        check = checks[name]
        assert check.status == "mismatch"
        assert check.first is not None
        values = {key: getattr(check.first, key) for key in difference}
        assert values == difference
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

    @pytest.mark.parametrize("arm", ["loss_free:load_ema=0.9,update_rule=proportional", "smebu:momentum=0.9"])
    def test_a_count_that_only_the_memory_of_a_rule_has_seen(self, arm: str, tmp_path: Path) -> None:
        """The counts of step 0 still act on the bias of a later step through what the rule remembers."""
        run = record(tmp_path, arm)
        one, other = (value_at(run, "expert_loads", "tokens", step=1, layer=1, expert=e) for e in (0, 1))
        rewrite(run, "expert_loads", setter("tokens", other, step=1, layer=1, expert=0))
        rewrite(run, "expert_loads", setter("tokens", one, step=1, layer=1, expert=1))
        assert one != other
        checks = self.expect(run, "biases", table="expert_loads", step=2, layer=1, expert=0)
        assert checks["biases"].mismatches > 2 * (STEPS - 3)

    @pytest.mark.parametrize("arm", ["loss_free:load_ema=0.9", "smebu"])
    def test_a_step_that_is_gone_ends_what_a_memory_can_tell(self, arm: str, tmp_path: Path) -> None:
        run = record(tmp_path, arm)
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
