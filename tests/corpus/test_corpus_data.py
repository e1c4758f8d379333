"""The committed texts: exact content, split, and what happens when a file is damaged or missing."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from sentences import pattern

from explorer.corpus import freeze, load_human_eval, rebuild_prose
from explorer.corpus.domains import sources
from explorer.corpus.files import (
    DATA_FOLDER,
    content_digest,
    manifest,
    read_content,
    read_text,
    read_units,
    sha256,
)
from explorer.corpus.installed import package_folder, read_files, stdlib_units
from explorer.corpus.units import Domain, Unit, blocks, select, split
from explorer.errors import CorpusError

# Written down here too: a manifest that was rewritten by accident must not pass.
CONTENT = {
    "austen.txt.xz": "ae4140c6e5ab543cc81f68358120258f0935ac9e27a30f44a7a564b349307867",
    "spanish_rv1909.txt.xz": "0ad6043007b2a42e6abc93f20d27797b2a8aa633c8908bbc563a2fd356c09fc4",
    "python.jsonl.xz": "b6614dc26ca5c3188f81bd5d41cab97e50a3d71a59ae8c977fc9e6870db8c735",
    "cpp.jsonl.xz": "b81a1ad69bc44c99e50ba50b076b9f0f61700de1f45dbdaa8c65a4ba2edc27c2",
    "json.jsonl.xz": "5d56582aa378e0027d72eab352b089e819ec6e88ffb84987e2e749ec88079c5a",
    "digits.jsonl.xz": "bdd7df587eb30624ee2ac0073124435fc6916e917d38fcb09fc7ed761b3ada07",
}
HUMAN_EVAL_FILE = "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef"


@pytest.fixture(scope="module")
def mix() -> list[Domain]:
    return [source.read() for source in sources("mix")]


@pytest.fixture
def data_copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DATA_FOLDER, tmp_path / "corpus"))


@pytest.mark.parametrize(("name", "digest"), CONTENT.items())
def test_committed_texts_are_exactly_the_published_ones(name: str, digest: str) -> None:
    assert sha256(read_content(name)) == digest
    assert manifest()[name]["num_bytes"] == len(read_content(name))


def test_manifest_names_every_committed_text_with_source_and_licence() -> None:
    committed = {path.name for path in DATA_FOLDER.iterdir() if path.suffix in (".xz", ".gz")}
    assert set(manifest()) == committed == {*CONTENT, "HumanEval.jsonl.gz"}
    assert all(entry["source"] and entry["licence"] for entry in manifest().values())


def test_licence_texts_lie_beside_the_data() -> None:
    holders = {
        "python": "Python Software Foundation",
        "torch": "Facebook",
        "altair": "Vega-Altair",
        "vega-lite": "University of Washington",
        "plotly": "Plotly Technologies",
        "numpy": "NumPy Developers",
        "human-eval": "OpenAI",
        "janeaustenr": "Julia Silge",
        "spanish_rv1909": "Public Domain",
    }
    texts = {path.stem: path.read_text(encoding="utf-8") for path in (DATA_FOLDER / "licences").iterdir()}
    assert {name for name, holder in holders.items() if holder in texts[name]} == set(holders) == set(texts)


def test_readme_states_the_hash_of_every_text() -> None:
    readme = (DATA_FOLDER.parent / "README.md").read_text(encoding="utf-8")
    assert all(name in readme and entry["sha256"] in readme for name, entry in manifest().items())


def test_human_eval_has_all_problems() -> None:
    assert sha256((DATA_FOLDER / "HumanEval.jsonl.gz").read_bytes()) == HUMAN_EVAL_FILE
    problems = load_human_eval()
    assert [p.task_id for p in problems] == [f"HumanEval/{i}" for i in range(164)]
    for problem in problems:
        assert f"def {problem.entry_point}(" in problem.prompt
        assert "def check(" in problem.test
        compile(problem.prompt + problem.canonical_solution, problem.task_id, "exec")


def test_domains_of_the_mix(mix: list[Domain]) -> None:
    assert [domain.name for domain in mix] == ["english", "spanish", "python", "cpp", "json", "digits"]
    for domain in mix:
        total = sum(unit.num_bytes for unit in (*domain.train, *domain.held_out))
        # A few copies (equal files, equal blocks) drop out after the cap.
        assert (0.9e6 if domain.name == "json" else 1.1e6) < total <= 1.2e6


def test_every_domain_holds_out_its_share(mix: list[Domain]) -> None:
    (austen,) = (source.read() for source in sources("austen"))
    for domain in [*mix, austen]:
        assert 0.05 <= domain.held_out_share <= 0.10, domain.name


def test_no_unit_and_no_text_in_both_splits(mix: list[Domain]) -> None:
    for domain in mix:
        assert not {u.name for u in domain.train} & {u.name for u in domain.held_out}
        assert not {u.text for u in domain.train} & {u.text for u in domain.held_out}


def test_code_is_split_by_whole_files(mix: list[Domain]) -> None:
    for name in ("python", "cpp"):
        domain = next(d for d in mix if d.name == name)
        units = {unit.name: unit.text for unit in (*domain.train, *domain.held_out)}
        assert units == {unit.name: unit.text for unit in read_units(f"{name}.jsonl.xz")}
        assert max(unit.num_bytes for unit in domain.train) <= 60_000


def test_frozen_headers_carry_no_foreign_notice() -> None:
    assert not [u.name for u in read_units("cpp.jsonl.xz") if freeze.OWN_NOTICE.search(u.text)]


def test_blocks_are_line_aligned_and_lossless() -> None:
    text = read_text("austen.txt.xz")[:300_000]
    parts = blocks("a", text)
    assert "".join(part.text for part in parts) == text
    assert all(part.text.endswith("\n") for part in parts[:-1])
    assert all(4096 <= part.num_bytes < 4300 for part in parts[:-1])


def test_split_does_not_follow_the_position() -> None:
    units = [Unit(name=f"f{i}", text=f"text {i}\n" * 50) for i in range(400)]
    held_out = {unit.name for unit in split("d", units).held_out}
    assert held_out == {unit.name for unit in split("d", reversed(units)).held_out}
    places = sorted(int(name[1:]) for name in held_out)
    assert places[0] < 100
    assert places[-1] > 300


def test_split_hardly_changes_when_a_unit_is_added() -> None:
    units = [Unit(name=f"f{i}", text=f"text {i}\n" * 50) for i in range(400)]
    before = {unit.name for unit in split("d", units).held_out}
    after = {unit.name for unit in split("d", [*units, Unit(name="new", text="new\n" * 90)]).held_out}
    assert len(before ^ after) <= 2


@pytest.mark.parametrize("sizes", [[], [10], [500, 500], [90, 3, 1]])
def test_domain_without_a_fair_held_out_share_is_refused(sizes: list[int]) -> None:
    units = [Unit(name=f"u{i}", text=str(i) * size) for i, size in enumerate(sizes)]
    with pytest.raises(CorpusError, match="domain tiny: .*5-10 %.*" + pattern("corpus.smaller_units")):
        split("tiny", units)


def test_units_with_the_same_name_are_refused() -> None:
    units = [Unit(name="a", text="x"), Unit(name="a", text="y")]
    with pytest.raises(CorpusError, match=pattern("corpus.same_name")):
        split("d", units)


def test_repeated_and_empty_units_are_dropped() -> None:
    units = [Unit(name=f"f{i}", text=f"text {i}\n" * 50) for i in range(100)]
    domain = split("d", [*units, Unit(name="copy", text=units[0].text), Unit(name="empty", text=" \n")])
    assert {u.name for u in (*domain.train, *domain.held_out)} == {u.name for u in units}


def test_selection_respects_the_cap_and_keeps_out_giants() -> None:
    units = [Unit(name=f"f{i:02d}", text="x" * 40) for i in range(60)] + [Unit(name="giant", text="y" * 200)]
    selected = select(units, 1000)
    assert sum(unit.num_bytes for unit in selected) == 1000
    assert [unit.name for unit in selected] == sorted(unit.name for unit in selected)
    assert "giant" not in {unit.name for unit in selected}


@pytest.mark.parametrize("position", [0, 1000, -1])
def test_damaged_text_is_named(data_copy: Path, position: int) -> None:
    raw = bytearray((data_copy / "json.jsonl.xz").read_bytes())
    raw[position] ^= 1
    (data_copy / "json.jsonl.xz").write_bytes(raw)
    with pytest.raises(
        CorpusError,
        match=r"json\.jsonl\.xz: "
        + pattern("corpus.other_digest")
        + " .* "
        + pattern("corpus.damaged")
        + " .*"
        + pattern("corpus.git_checkout"),
    ):
        read_units("json.jsonl.xz", data_copy)
    with pytest.raises(CorpusError, match=pattern("corpus.damaged")):
        content_digest("json.jsonl.xz", data_copy)


def test_content_must_match_the_manifest_too(data_copy: Path) -> None:
    entries = json.loads((data_copy / "manifest.json").read_text())
    entries["files"]["json.jsonl.xz"]["sha256"] = "0" * 64
    (data_copy / "manifest.json").write_text(json.dumps(entries))
    with pytest.raises(CorpusError, match=pattern("corpus.digest_of_content")):
        read_units("json.jsonl.xz", data_copy)


def test_file_that_is_no_archive_is_refused(data_copy: Path) -> None:
    (data_copy / "json.jsonl.xz").write_bytes(b"not xz")
    entries = json.loads((data_copy / "manifest.json").read_text())
    entries["files"]["json.jsonl.xz"]["file_sha256"] = sha256(b"not xz")
    (data_copy / "manifest.json").write_text(json.dumps(entries))
    with pytest.raises(CorpusError, match=pattern("corpus.not_decompressed")):
        read_units("json.jsonl.xz", data_copy)


def test_missing_text_or_manifest_is_named(data_copy: Path) -> None:
    (data_copy / "HumanEval.jsonl.gz").unlink()
    with pytest.raises(CorpusError, match=r"HumanEval\.jsonl\.gz: " + pattern("errors.read_failed")):
        load_human_eval(data_copy)
    with pytest.raises(CorpusError, match=pattern("corpus.not_named")):
        read_text("other.txt.xz", data_copy)
    (data_copy / "manifest.json").write_text("{")
    with pytest.raises(CorpusError, match=pattern("corpus.damaged")):
        load_human_eval(data_copy)
    (data_copy / "manifest.json").write_text('{"files": 3}')
    with pytest.raises(CorpusError, match=pattern("corpus.table_of_files")):
        load_human_eval(data_copy)
    (data_copy / "manifest.json").unlink()
    with pytest.raises(CorpusError, match=pattern("corpus.checkout")):
        load_human_eval(data_copy)


def test_standard_library_is_filtered(tmp_path: Path) -> None:
    for name in ("b.py", "a/x.py", "a/test/y.py", "site-packages/z.py", "encodings/e.py", "a/readme.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n")
    (tmp_path / "latin.py").write_bytes(b"# \xe9\n")
    (tmp_path / "_sysconfigdata__linux.py").write_text("x = 1\n")
    assert [unit.name for unit in stdlib_units(tmp_path)] == ["a/x.py", "b.py"]
    with pytest.raises(CorpusError, match=pattern("corpus.no_python")):
        stdlib_units(tmp_path / "a" / "test" / "nothing")


def test_running_interpreter_can_be_split() -> None:
    units = stdlib_units()
    assert {"ast.py", "json/decoder.py"} <= {unit.name for unit in units}
    assert 0.05 <= split("python", units).held_out_share <= 0.10


def test_missing_package_is_named() -> None:
    with pytest.raises(CorpusError, match="no_such_package: " + pattern("errors.not_installed")):
        package_folder("no_such_package")


def test_package_is_found_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "explosive_package").mkdir()
    (tmp_path / "explosive_package" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert package_folder("explosive_package") == tmp_path / "explosive_package"
    assert "explosive_package" not in sys.modules


def test_freeze_writes_what_the_reader_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = [Unit(name="b", text="line\u2028\x85 \r\n\x0c end"), Unit(name="a", text='"\\ ñ\n')]
    (tmp_path / "manifest.json").write_text('{"files": {"kept.gz": {}}}')
    monkeypatch.setattr(freeze, "SOURCES", {"odd": (lambda: odd, "none", ("numpy",))})
    freeze.write(tmp_path)
    assert read_units("odd.jsonl.xz", tmp_path) == [odd[1], odd[0]]
    assert "kept.gz" in manifest(tmp_path)
    assert manifest(tmp_path)["odd.jsonl.xz"]["source"].startswith("numpy ")
    assert "NumPy" in (tmp_path / "licences" / "numpy.txt").read_text()


def test_freeze_check_tells_what_would_change(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = [Unit(name="a", text="a")]
    same = read_units("json.jsonl.xz")
    monkeypatch.setattr(
        freeze, "SOURCES", {"json": (lambda: same, "", ()), "digits": (lambda: other, "", ())}
    )
    assert freeze.main(["--check"]) == 1
    assert capsys.readouterr().out.startswith("digits: ")
    monkeypatch.setattr(freeze, "SOURCES", {"json": (lambda: same, "", ())})
    assert freeze.main(["--check"]) == 0


def test_markup_of_the_bible_is_removed() -> None:
    verse = '<title>T</title><verse>En el  principio <note n="1">x</note>¶crió &amp; vió</verse> <l/> fin'
    assert rebuild_prose._plain(verse) == "En el principio crió & vió\nfin"


def test_read_files_normalises_line_ends(tmp_path: Path) -> None:
    (tmp_path / "a.h").write_bytes(b"int a;\r\nint b;\r\n")
    assert read_files(tmp_path, tmp_path.glob("*.h"))[0].text == "int a;\nint b;\n"
