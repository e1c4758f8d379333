"""DeepSeek-R1 in serving: the published means, and the same from the files where they are at hand."""

from pathlib import Path

import pytest
from foreign_files import real

from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run, run_from_row
from explorer.figures.panel import Panel
from explorer.figures.serving import published
from explorer.figures.store import OpenStore
from explorer.figures.views import serving
from explorer.importers import import_path
from explorer.queries.runs import list_runs
from explorer.store import Index


def drawn(folder: Path) -> tuple[list[Run], Panel]:
    """Of the runs in a folder: those of the published files, and the panel."""
    with Index.open(folder / "index.duckdb") as index:
        index.ingest([folder])
        with index.cursor() as cur:
            rows = list_runs(cur).to_dicts()
        runs = published.imported([run_from_row(row) for row in rows])
        return runs, published.by_input_length(OpenStore(index), ArmSet.of_runs(runs), None)


def test_without_the_files_the_published_means_are_shown(tmp_path: Path) -> None:
    runs, panel = drawn(tmp_path)
    assert runs == []
    assert panel.table is not None
    assert dict(panel.table.iter_rows()) == published.MEANS
    assert "sgl-project/sglang#6017" in panel.how


def test_the_published_means_follow_from_the_files(tmp_path: Path) -> None:
    for length in published.MEANS:
        file = real(f"sglang_deepseek_r1_prefill_in{length}.json")
        import_path(file, tmp_path, options={"top_k": "8"})
    runs, panel = drawn(tmp_path)
    assert [run.num_experts for run in runs] == [256] * 3
    assert panel.table is not None
    for length, mean in published.MEANS.items():
        part = panel.table.filter(input_tokens=length)
        assert part.height == 58
        assert part["max_vio"].mean() == pytest.approx(mean, abs=0.005)


def test_a_placement_planned_on_one_file_is_judged_on_another(tmp_path: Path) -> None:
    """32 GPUs with one extra copy each; the saving is that of EPLB's own algorithm on these files."""
    for length in (512, 4096):
        file = real(f"sglang_deepseek_r1_prefill_in{length}.json")
        import_path(file, tmp_path, options={"top_k": "8", "run_id": f"in{length}"})
    with Index.open(tmp_path / "index.duckdb") as index:
        index.ingest([tmp_path])
        with index.cursor() as cur:
            runs = [run_from_row(row) for row in list_runs(cur).to_dicts()]
        store = OpenStore(index)
        opened = serving.open_view(store, runs, {"run": ["in512"], "judged": ["in4096"]})
        verdict, levels = (
            question.answer(store)
            for question in opened.questions
            if question.key in ("serving_verdict", "serving_levels")
        )
    assert opened.notices == ()
    assert isinstance(verdict, Panel)
    assert isinstance(levels, Panel)
    assert verdict.finding.startswith("Worth it")
    assert verdict.table is not None
    assert verdict.table["before"].mean() == pytest.approx(3.04, abs=0.005)
    assert verdict.table["after"].mean() == pytest.approx(1.41, abs=0.005)
    assert levels.table is not None
    experts = levels.table.filter(level="expert")["ratio"].mean()
    assert experts == pytest.approx(1 + published.MEANS[512], abs=0.005)
