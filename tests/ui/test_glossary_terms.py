"""The Glossary: its index, and links that ask for one term."""

import re

import pytest
from app_pages import Opener

from explorer.metrics.glossary import TERMS, search


def headings(app: object) -> list[str]:
    return [heading.value for heading in app.subheader]  # type: ignore[attr-defined]


def test_the_index_links_to_every_term(open_app: Opener) -> None:
    app = open_app(page="glossary")
    (index,) = [text.value for text in app.markdown if text.value.count("](#") > 10]
    assert re.findall(r"\(#([\w-]+)\)", index) == [term.key for term in TERMS]
    (first,) = [text.value for text in app.markdown if "Read these ten first" in text.value]
    assert len(set(re.findall(r"\(#([\w-]+)\)", first)) & {term.key for term in TERMS}) == 10
    anchors = [heading.proto.anchor for heading in app.subheader]
    assert {term.key for term in TERMS} <= set(anchors)


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.key)
def test_a_title_finds_its_term(term: object) -> None:
    from explorer.ui.glossary.terms import matches

    title = term.title  # type: ignore[attr-defined]
    assert term in matches(title, search(title))


def test_a_link_to_a_term_opens_it_before_terms_that_mention_it(open_app: Opener) -> None:
    title = next(term.title for term in TERMS if term.key == "event_collapse")
    app = open_app(page="glossary", term=title)
    style = "\n".join(element.proto.body for element in app.get("html"))
    assert re.search(r":has\(> \.st-key-term-event_collapse\)[^}]*order: -1", style)


def test_a_word_hides_the_terms_without_it_and_draws_none_anew(open_app: Opener) -> None:
    app = open_app(page="glossary")
    before = headings(app)
    app.text_input(key="term").set_value("bias").run()
    style = "\n".join(element.proto.body for element in app.get("html"))
    hidden = {key for key in re.findall(r"\.st-key-term-([\w-]+)", style) if not key.startswith("section-")}
    assert hidden == {term.key for term in TERMS} - {term.key for term in search("bias")}
    assert headings(app) == before


def test_a_symbol_has_one_meaning() -> None:
    """u is the update rate, e_i the load error and f_i the share of the load, in every formula."""
    formulas = {term.key: f"{term.formula} {term.more}" for term in TERMS}
    assert not [key for key, text in formulas.items() if re.search(r"u_t|u_\{", text)]
    errors = {key for key, text in formulas.items() if re.search(r"(?<!tilde )\be_i", text)}
    assert errors == {"loss_free"}
    defined = re.findall(r"(?<!tilde )\bf_i = (\S+)", " ".join(formulas.values()))
    assert set(defined) == {r"\frac{c_i}{K\,T},"}
