"""A term of the Glossary as HTML. Its formulas are MathML, which browsers draw themselves."""

import re
from collections.abc import Sequence
from functools import cache
from html import escape

from latex2mathml import converter
from markdown_it import MarkdownIt

from explorer.metrics.term import Term
from explorer.ui.shared import show

_FORMULA = re.compile(r"\$(?P<latex>[^$]+)\$")
_PLACE = "\ue000{}\ue001"
"""Stands for a formula while Markdown is read, which would take its signs for marks."""
_ACCENT = re.compile(r"<mover>(?=<mi>[^<]*</mi><mo[^>]*>&#x(?:000AF|0007E);</mo>)")
_MARKDOWN = MarkdownIt("commonmark", {"html": False})


@cache
def term_html(term: Term, css_class: str, after: str = "") -> str:
    """Title, text, formula and sources in a section of this class. after: HTML below them."""
    key, title = escape(term.key), escape(term.title)
    link = f'<a class="self" href="#{key}" aria-label="Link to {title}">#</a>'
    parts = [f'<h3 id="{key}">{title}{link}</h3>', markdown(term.text)]
    if term.formula:
        lines = "".join(mathml(part, "block") for part in show.formula_parts(term.formula))
        parts.append(f'<div class="formula">{lines}</div>')
    parts += [markdown(term.note), _sources(term), after]
    return f'<section class="{escape(css_class)}">{"".join(parts)}</section>'


def _sources(term: Term) -> str:
    if not term.sources:
        return ""
    names: Sequence[str] = [
        f'<a href="{escape(s.link)}" target="_blank" rel="noopener">{escape(s.words)}</a>'
        if s.link
        else escape(s.words)
        for s in term.sources
    ]
    return f'<p class="sources">Source: {"; ".join(names)}</p>'


def markdown(text: str) -> str:
    """Markdown with formulas between dollar signs."""
    formulas: list[str] = []

    def keep(match: re.Match[str]) -> str:
        formulas.append(mathml(match["latex"], "inline"))
        return _PLACE.format(len(formulas) - 1)

    html: str = _MARKDOWN.render(_FORMULA.sub(keep, text))
    for i, formula in enumerate(formulas):
        html = html.replace(_PLACE.format(i), formula)
    return html


def mathml(latex: str, display: str) -> str:
    """A formula as MathML; display: block or inline."""
    # The converter would make one line of a pair as high as what it encloses, and the other not.
    paired = latex.replace(r"\lvert", r"\left|").replace(r"\rvert", r"\right|")
    # A bar or tilde that is not called an accent floats far above its letter.
    return _ACCENT.sub('<mover accent="true">', str(converter.convert(paired, display=display)))
