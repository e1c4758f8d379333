"""Read the committed data of `data/corpus`: check it against the manifest and decompress it.

`manifest.json` holds, for every file, the SHA-256 of the file and of its uncompressed content. The
first is checked whenever a corpus is loaded (a few milliseconds), the second when the text is read.
"""

import gzip
import hashlib
import json
import lzma
from pathlib import Path
from typing import Any

import explorer
from explorer.corpus.units import Unit
from explorer.errors import CorpusError

DATA_FOLDER = Path(explorer.__file__).parent.parent / "data" / "corpus"
MANIFEST = "manifest.json"
REMEDY = "restore data/corpus from the project's repository (`git checkout -- data/corpus`)"


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def manifest(folder: Path = DATA_FOLDER) -> dict[str, dict[str, Any]]:
    """File name -> num_bytes, sha256 (of the content), file_sha256, source, licence."""
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    except OSError as error:
        raise CorpusError(
            f"{folder / MANIFEST}: the corpus data is not there ({error.strerror}), and training needs a"
            f" checkout of the project; {REMEDY}."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{folder / MANIFEST}: is damaged ({error}); {REMEDY}.") from error
    if not isinstance(files, dict):
        raise CorpusError(f"{folder / MANIFEST}: `files` must be a table of files; {REMEDY}.")
    return files


def _read_checked(name: str, folder: Path) -> tuple[bytes, dict[str, Any]]:
    try:
        entry = manifest(folder)[name]
    except KeyError as error:
        raise CorpusError(f"{folder / name}: is not named in {MANIFEST}; {REMEDY}.") from error
    try:
        raw = (folder / name).read_bytes()
    except OSError as error:
        raise CorpusError(f"{folder / name}: cannot be read ({error.strerror}); {REMEDY}.") from error
    if sha256(raw) != entry["file_sha256"]:
        raise CorpusError(
            f"{folder / name}: its SHA-256 is {sha256(raw)[:12]}... but {MANIFEST} says"
            f" {entry['file_sha256'][:12]}..., so the file is damaged or was changed; {REMEDY}."
        )
    return raw, entry


def content_digest(name: str, folder: Path = DATA_FOLDER) -> str:
    """SHA-256 of the uncompressed content, after checking that the compressed file is intact."""
    return str(_read_checked(name, folder)[1]["sha256"])


def read_content(name: str, folder: Path = DATA_FOLDER) -> bytes:
    """The uncompressed content of one committed file; CorpusError if missing or damaged."""
    raw, entry = _read_checked(name, folder)
    try:
        content = gzip.decompress(raw) if name.endswith(".gz") else lzma.decompress(raw)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise CorpusError(f"{folder / name}: cannot be decompressed ({error}); {REMEDY}.") from error
    if sha256(content) != entry["sha256"]:
        raise CorpusError(
            f"{folder / name}: the SHA-256 of its content is {sha256(content)[:12]}... but {MANIFEST} says"
            f" {entry['sha256'][:12]}...; {REMEDY}."
        )
    return content


def read_text(name: str, folder: Path = DATA_FOLDER) -> str:
    """A committed `.txt.xz` as one string."""
    return read_content(name, folder).decode("utf-8")


def read_units(name: str, folder: Path = DATA_FOLDER) -> list[Unit]:
    """A committed `.jsonl.xz` of {"path", "text"}, one source file per line."""
    rows = (json.loads(line) for line in read_content(name, folder).splitlines())
    return [Unit(name=row["path"], text=row["text"]) for row in rows]


def pack_units(units: list[Unit]) -> bytes:
    """The inverse of `read_units`, before compression: sorted by path, stable bytes."""
    rows = (
        json.dumps({"path": unit.name, "text": unit.text}, ensure_ascii=False)
        for unit in sorted(units, key=lambda unit: unit.name)
    )
    # json.dumps escapes the line breaks inside a text; U+0085 and the like stay, and bytes.splitlines
    # (used for reading) splits at \n and \r only.
    return "".join(row + "\n" for row in rows).encode("utf-8")
