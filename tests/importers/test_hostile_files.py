"""Files that are damaged, or made to do harm: one sentence, no crash, no run, no memory taken on their
word."""

import gzip
import io
import lzma
import os
import pickle
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from count_samples import safetensors_bytes
from foreign_files import ROOT, import_one, random_counts, random_routes, write_lines
from hypothesis import given, settings
from hypothesis import strategies as st
from route_samples import route_records

from explorer.errors import ExplorerError, ForeignFileError
from explorer.importers import import_path

OPTIONS = {"num_experts": "8"}


def refused(
    path: Path, folder: Path, match: str | None = None, form: str | None = None, **options: Any
) -> str:
    """The sentence of the refusal; nothing is left in the runs folder."""
    with pytest.raises(ExplorerError, match=match) as caught:
        import_path(path, folder / "runs", form, options)
    assert not (folder / "runs").exists() or list((folder / "runs").iterdir()) == []
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < 1500
    return sentence


class Evil:
    def __reduce__(self) -> Any:
        return (os.system, ("echo harm > harm",))


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_calls_something_is_never_loaded(
    protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([Evil()], protocol=protocol))
    refused(tmp_path / "x.pkl", tmp_path, "which no counter needs", **OPTIONS)
    assert not (tmp_path / "harm").exists()


def test_a_torch_file_with_an_object_is_never_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    torch.save({"logical_count": Evil()}, tmp_path / "expert_distribution_recorder_1.pt")
    refused(tmp_path / "expert_distribution_recorder_1.pt", tmp_path, "tensors only", **OPTIONS)
    assert not (tmp_path / "harm").exists()


def test_a_tensor_that_claims_to_be_huge_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    claim = torch.zeros(1).expand(2**20, 2**14)
    torch.save(claim, tmp_path / "weight.pt")
    refused(tmp_path / "weight.pt", tmp_path, "too large")


def test_a_compressed_archive_under_a_torch_name_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "weight.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", b"\0" * 10_000_000)
    refused(tmp_path / "weight.pt", tmp_path, "expands to 10,000,000 bytes")


@pytest.mark.parametrize("name", ["loads.zip", "loads.npz", "loads.csv"])
def test_an_archive_is_refused_whatever_its_name(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("../../loads.csv", "layer,expert\n")
    refused(tmp_path / name, tmp_path, "is a zip archive; extract it", **OPTIONS)


def test_a_header_that_claims_more_than_the_file_holds(tmp_path: Path) -> None:
    data = io.BytesIO()
    np.save(data, random_counts())
    claim = data.getvalue().replace(b"(4, 3, 8)", b"(4, 3, 9)")
    (tmp_path / "x.npy").write_bytes(claim)
    refused(tmp_path / "x.npy", tmp_path, "says that its shape is")
    (tmp_path / "y.npy").write_bytes(claim.replace(b"(4, 3, 9), }" + b" " * 8, b"(4, 3, 999999999), }"))
    refused(tmp_path / "y.npy", tmp_path)


def test_an_array_of_objects_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[Evil()]], dtype=object), allow_pickle=True)
    refused(tmp_path / "x.npy", tmp_path, "values of type object")


def test_a_safetensors_header_that_lies(tmp_path: Path) -> None:
    folder = tmp_path / "statistics"
    folder.mkdir()
    good = safetensors_bytes({"0_0": np.arange(8)})
    lies = (b"\xff" * 8 + good[8:], good.replace(b"[0, 64]", b"[0, 99]"), good.replace(b"[8]", b"[9]"))
    for claim in lies:
        (folder / "rank0.safetensors").write_bytes(claim)
        refused(folder, tmp_path, None, **OPTIONS)


@pytest.mark.parametrize(
    "line",
    [
        '{"type": "route", "layer": 0, "topk_ids": [1, 2.5]}',
        '{"type": "route", "layer": -1, "topk_ids": [1, 2]}',
        '{"type": "route", "layer": 0, "topk_ids": [1, 99999999999999999999]}',
        '{"type": "route", "layer": 0, "topk_ids": [1]}',
        '{"type": "route", "layer": 99999999, "topk_ids": [1, 2]}',
        "[" * 100_000,
        '{"type": "route", "layer": 0, "topk_ids": [1, 2]',
        "\udcff",
    ],
)
def test_a_bad_line_is_named(line: str, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "moe_routes.jsonl", route_records(random_routes(tokens=2)))
    with path.open("ab") as file:
        file.write(line.encode("utf-8", "surrogateescape") + b"\n")
    assert "line 8" in refused(path, tmp_path, None, **OPTIONS)


@pytest.mark.parametrize(
    "value",
    [
        "[" * 5000,
        "[[1, 2], [3]]",
        "[[-1, 2]]",
        "[[1.5, 2]]",
        '[["a"]]',
        "[]",
        "[[1e400, 2]]",
        "[[true, false]]",
        '{"a": 1}',
        "[[0, 0]]",
    ],
)
def test_json_that_is_too_deep_or_too_odd(value: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(f'{{"logical_count": {value}}}')
    refused(tmp_path / "x.json", tmp_path, "x.json")


def test_sizes_are_bounded_before_memory_is_taken(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "moe_routes.jsonl", route_records(random_routes(tokens=2)))
    refused(path, tmp_path, "must be a whole number from 1 to", num_experts="99999999999")
    records = [{"type": "route", "layer": n, "topk_ids": [1, 2]} for n in range(9)]
    path = write_lines(tmp_path / "wide.jsonl", records)
    refused(path, tmp_path, "experts together", "moe_routes", num_experts="1000000")


def test_a_bomb_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explorer.importers.source.MAX_LINE", 10_000)
    monkeypatch.setattr("explorer.importers.source.MAX_EXPANDED", 100_000)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"topk_ids": [1, 2' + b"0" * 1_000_000))
    refused(tmp_path / "a.jsonl.gz", tmp_path, "longer than", "moe_routes", **OPTIONS)
    line = b'{"type": "route", "topk_ids": [1, 2]}\n'
    (tmp_path / "b.jsonl.xz").write_bytes(lzma.compress(line * 10_000))
    refused(tmp_path / "b.jsonl.xz", tmp_path, "expands to more than", "moe_routes", **OPTIONS)


def test_a_compressed_file_that_is_cut_short(tmp_path: Path) -> None:
    data = lzma.compress(b'{"type": "route", "topk_ids": [1, 2]}\n' * 50_000)
    (tmp_path / "x.jsonl.xz").write_bytes(data[: len(data) // 2])
    refused(tmp_path / "x.jsonl.xz", tmp_path, "cannot be read to its end", "moe_routes", **OPTIONS)


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes")
def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.csv")
    refused(tmp_path / "x.csv", tmp_path, "not a regular file", **OPTIONS)
    (tmp_path / "empty.csv").touch()
    refused(tmp_path / "empty.csv", tmp_path, "is empty")
    refused(tmp_path / "absent.csv", tmp_path, "cannot be opened")


def test_a_link_out_of_a_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "trace"
    folder.mkdir()
    (tmp_path / "secret.jsonl").write_text('{"iter": 0, "layer": 0, "tpe": [[1, 2]]}\n')
    (folder / "rank0.jsonl").symlink_to(tmp_path / "secret.jsonl")
    refused(folder, tmp_path, "leads out of its folder", num_experts="2")


def test_names_of_files_do_not_become_paths(tmp_path: Path) -> None:
    path = tmp_path / "..évil;name$(x).npy"
    np.save(path, random_counts())
    run = import_one(path, tmp_path)
    assert run.path.parent == tmp_path / "runs"
    assert run.run_id.isascii()
    for run_id in ("../out", "a/b", ".hidden", ""):
        with pytest.raises(ExplorerError):
            import_path(path, tmp_path / "other", None, {"run_id": run_id} if run_id else {"run_ids": "x"})
    assert not (tmp_path / "out").exists()


def test_torch_is_not_needed_for_files_without_tensors(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", random_counts())
    code = (
        "import sys; from explorer.importers import import_path, list_formats\n"
        "list_formats(); import_path(sys.argv[1], sys.argv[2])\n"
        "print([n for n in ('torch', 'duckdb', 'scipy', 'streamlit', 'altair') if n in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x.npy"), str(tmp_path / "runs")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


@settings(max_examples=30)
@given(content=st.binary(max_size=300))
def test_any_bytes_are_refused_in_one_sentence(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as text:
        path = Path(text) / "x.bin"
        path.write_bytes(content)
        with pytest.raises(ExplorerError) as caught:
            import_path(path, Path(text) / "runs", None, OPTIONS)
        assert isinstance(caught.value, ForeignFileError)
