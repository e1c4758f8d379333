"""Rebuild the two prose texts: `python -m explorer.corpus.rebuild_prose NOVELS BIBLE OUTPUT`.

NOVELS and BIBLE are folders into which the Debian packages r-cran-janeaustenr 1.0.0-1 and
sword-text-sparv 2.60-1 were unpacked (`apt-get download ...`, `dpkg-deb -x PACKAGE FOLDER`). Prints the
SHA-256 of each text, which must equal the manifest's; the compressed bytes may differ between
versions of the xz library.
"""

import argparse
import html
import lzma
import re
import struct
import sys
import zlib
from pathlib import Path

from explorer.corpus.files import sha256
from explorer.files import write_whole

SPANISH_CHARACTERS = 2_000_000


def austen(root: Path) -> str:
    """Six novels from an R lazy-load database: blocks of length, then zlib data, back to back."""
    raw = (root / "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb").read_bytes()
    books, position = [], 0
    while position < len(raw):  # alphabetical by name of the novel
        (size,) = struct.unpack(">I", raw[position : position + 4])
        inflate = zlib.decompressobj()
        data = inflate.decompress(raw[position + 4 :])
        if len(data) != size:
            raise ValueError(f"block at {position}: {len(data)} bytes, but its header says {size}")
        position = len(raw) - len(inflate.unused_data)
        books.append("\n".join(_r_strings(data)))
    return "\n\n".join(books)


def _r_strings(data: bytes) -> list[str]:
    """The first character vector of a serialised R object: STRSXP is type 16, then its elements."""
    at = data.index(b"\0\0\0\x10") + 4
    (count,) = struct.unpack(">I", data[at : at + 4])
    at += 4
    lines = []
    for _ in range(count):  # CHARSXP: flags, length, bytes
        (length,) = struct.unpack(">i", data[at + 4 : at + 8])
        at += 8
        lines.append(data[at : at + length].decode("utf-8"))
        at += length
    return lines


def spanish(root: Path, limit: int = SPANISH_CHARACTERS) -> str:
    """The beginning of the Reina-Valera of 1909, from a SWORD module, without its OSIS markup."""
    base = root / "usr/share/sword/modules/texts/ztext/spaRV1909eb"
    parts = []
    for testament in ("ot", "nt"):
        packed = (base / f"{testament}.bzz").read_bytes()
        for offset, size, _ in struct.iter_unpack("<III", (base / f"{testament}.bzs").read_bytes()):
            if size:
                parts.append(
                    _plain(zlib.decompress(packed[offset : offset + size]).decode("utf-8", "replace"))
                )
    text = "\n".join(parts)[:limit]
    return text[: text.rfind("\n")] + "\n"


def _plain(markup: str) -> str:
    markup = re.sub(r"<note.*?</note>", "", markup, flags=re.DOTALL)
    markup = re.sub(r"<title.*?</title>", "\n", markup, flags=re.DOTALL)
    markup = re.sub(r"<(div|chapter|lb|p|l|lg)[^>]*>", "\n", markup)
    text = html.unescape(re.sub(r"<[^>]+>", "", markup)).replace("¶", "")
    text = re.sub(r" ?\n ?", "\n", re.sub(r"[ \t]+", " ", text))
    return re.sub(r"\n{2,}", "\n", text).strip()


def main(arguments: list[str] | None = None) -> int:
    """Write `austen.txt.xz` and `spanish_rv1909.txt.xz` to OUTPUT and print their hashes."""
    parser = argparse.ArgumentParser(prog="python -m explorer.corpus.rebuild_prose", description=__doc__)
    for name in ("novels", "bible", "output"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args(arguments)
    for name, text in (("austen", austen(options.novels)), ("spanish_rv1909", spanish(options.bible))):
        content = text.encode("utf-8")
        packed = lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)
        write_whole(options.output / f"{name}.txt.xz", packed)
        sys.stdout.write(f"{name}: {len(content)} bytes, sha256 {sha256(content)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
