"""Text from outside as text: names, addresses, messages and file contents are never read as Markdown."""

import re

_MARKS = re.compile(r"([\\`*_\[\]<$~&|])")
# Streamlit looks for these in the finished text, where a backslash no longer protects: addresses become
# links, `:name:` becomes a picture. A character without width keeps them apart.
_APART = "\u200b"
_LINKS = re.compile(r"(https?:|ftp:|mailto:)(?=\S)|\b(www)(?=\.)|(?<=\S)(?=@)", re.IGNORECASE)
_SHORTCODES = re.compile(r":(?=[A-Za-z+_-][\w/+-]*:)")
# `:red` is a directive of Streamlit's Markdown, also without brackets, and would vanish.
_DIRECTIVES = re.compile(r":(?=[^\W\d_])")
_LINE_STARTS = re.compile(r"^( ?)([#>+=-]|\d{1,9}(?=[.)]))", re.MULTILINE)
_NEW_LINES = re.compile(r"\r\n?")
"""Ends of lines to Markdown, and not to the patterns below."""
_UNITS = re.compile(
    r"(?<=\d) (?=%)|(?<=\d) (?=± ?\d)|(?<=\d ±) (?=\d)|(?<=\w) (?== [−-]?\d)|(?<=\w =) (?=[−-]?\d)"
)
"""Spaces inside `12 %`, `0.3 ± 0.1` and `k = 2`, where a line must not break."""
_ENDS_OF_LINES = re.compile(r"^[ \t]+|[ \t]+$", re.MULTILINE)


def plain(text: str) -> str:
    """Computed sentences are text, not markup: a `*` or `_` of a run's name must stay what it is."""
    text = _UNITS.sub("\u00a0", _NEW_LINES.sub("\n", text))
    text = _MARKS.sub(r"\\\1", text)
    text = _ENDS_OF_LINES.sub(_joint, text)
    text = _LINE_STARTS.sub(_escaped_start, text)
    text = _LINKS.sub(lambda match: match[0] + _APART, text)
    text = _SHORTCODES.sub(":" + _APART, text)
    return _DIRECTIVES.sub(r"\\:", text)


def _escaped_start(match: "re.Match[str]") -> str:
    """The mark at the start of a line, so that it begins no heading, list, quotation or table."""
    space, mark = match.groups()
    return f"{space}{mark}\\" if mark.isdecimal() else f"{space}\\{mark}"


def _joint(match: "re.Match[str]") -> str:
    """Space at the ends of the whole text stays, for words that follow; several begin a block of code."""
    is_outside = match.start() == 0 or match.end() == len(match.string)
    return " " if is_outside else ""
