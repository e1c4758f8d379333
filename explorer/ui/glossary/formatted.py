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
_SIZED_BRACE = re.compile(r"\\[bB]igg?[lr](?=\\[{}])")
_NAMED_FUNCTION = re.compile(
    r"(</(?:mi|mn|msub|msup|mfrac|mrow)>)?(?<!<msub>)(<mi>(?:ln|log)</mi>)(?=<m(?:i|n|row|sub|sup|subsup|frac)\b)"
)
_THIN_SPACE = '<mspace width="0.167em"/>'
_WITH_SIGNS = re.compile(r"([(\[]?)(<math\b.*?</math>)([.,;:)\]]*)", re.DOTALL)
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
    # A line may break after a formula; the next one would then begin with the full stop.
    return _WITH_SIGNS.sub(_unbroken, html)


def _unbroken(match: re.Match[str]) -> str:
    before, formula, after = match.groups()
    return f'<span class="whole">{before}{formula}{after}</span>' if before or after else formula


def mathml(latex: str, display: str) -> str:
    """A formula as MathML; display: block or inline."""
    # The converter would make one line of a pair as high as what it encloses, and the other not.
    paired = latex.replace(r"\lvert", r"\left|").replace(r"\rvert", r"\right|")
    # The converter knows no sized braces, and takes infinity for an operator, with space around it.
    html = str(converter.convert(_SIZED_BRACE.sub("", paired), display=display))
    html = html.replace("<mo>&#x0221E;</mo>", "<mi>&#x0221E;</mi>")
    # Nor does it know the space that separates the name of a function from its argument.
    html = _NAMED_FUNCTION.sub(_spaced, html)
    # A bar or tilde that is not called an accent floats far above its letter.
    return _ACCENT.sub('<mover accent="true">', html)


def _spaced(match: re.Match[str]) -> str:
    """The name of a function, with a thin space between it and its neighbours."""
    before, name = match.groups()
    return f"{before}{_THIN_SPACE}{name}{_THIN_SPACE}" if before else f"{name}{_THIN_SPACE}"
