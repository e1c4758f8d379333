"""Each format, from a small file of it to a run folder: found by its head, and the counts are those of the
file."""

from pathlib import Path

import numpy as np
import pytest
from foreign_files import Sample, entry, import_one, loads_of
from foreign_samples import SAMPLES

from explorer.importers import list_formats
from explorer.recording import RunFolder, list_runs


def made(name: str, folder: Path) -> tuple[str, Sample]:
    form, write = SAMPLES[name]
    return form, write(folder)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_of_each_format_gives_its_counts(name: str, tmp_path: Path) -> None:
    form, sample = made(name, tmp_path)
    run = import_one(sample.path, tmp_path, **sample.options)
    folder = RunFolder(run.path)
    assert folder.info.source == f"imported:{form}"
    np.testing.assert_array_equal(loads_of(run), np.rint(sample.counts * sample.scale))
    assert folder.info.unit.startswith("shares") == (sample.scale > 1)
    assert folder.document("import_report")["entries"] == run.report
    if sample.bias is not None:
        bias = folder.read("expert_loads").sort("step", "layer", "expert")["expert_bias"].to_numpy()
        np.testing.assert_array_equal(bias, sample.bias.ravel())


@pytest.mark.parametrize("name", SAMPLES)
def test_a_run_of_each_format_is_finished_and_readable(name: str, tmp_path: Path) -> None:
    _, sample = made(name, tmp_path)
    run = import_one(sample.path, tmp_path, **sample.options)
    listing = list_runs(tmp_path / "runs")
    assert [(one.run_id, one.problem) for one in listing] == [(run.run_id, None)]
    assert listing[0].status is not None
    assert listing[0].status.state == "finished"
    steps = RunFolder(run.path).read("steps")
    assert listing[0].info is not None
    assert listing[0].info.num_steps == len(steps)


def test_every_format_has_a_sample() -> None:
    assert {form.name for form in list_formats()} == {form for form, _ in SAMPLES.values()}


def test_names_of_formats_are_unique() -> None:
    names = [form.name for form in list_formats()]
    assert len(set(names)) == len(names)


def test_a_placement_has_no_imbalance_and_assumes_nothing_about_tokens(tmp_path: Path) -> None:
    _, sample = made("ascend_map", tmp_path)
    run = import_one(sample.path, tmp_path, **sample.options)
    assert not {"imbalance", "top_k", "balancer", "idle_experts"} & {one["kind"] for one in run.report}
    assert entry(run, "placement")
