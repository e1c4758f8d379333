"""The Glossary: its index, and links that ask for one term."""

import re

import pytest
from app_pages import Opener, terms_html
from sentences import sentence

from explorer.metrics.glossary import TERMS, search
from explorer.metrics.term import Term
from explorer.ui.glossary.formatted import markdown, term_html
from explorer.ui.shared import show


def test_the_index_links_to_every_term(open_app: Opener) -> None:
    app = open_app(page="glossary")
    (index,) = [text.value for text in app.markdown if text.value.count("](#") > 10]
    assert re.findall(r"\(#([\w-]+)\)", index) == [term.key for term in TERMS]
    (first,) = [text.value for text in app.markdown if "Read these ten first" in text.value]
    assert len(set(re.findall(r"\(#([\w-]+)\)", first)) & {term.key for term in TERMS}) == 10
    assert re.findall(r'<h3 id="([\w-]+)"', terms_html(app)) == [term.key for term in TERMS]


def test_the_links_of_the_index_on_a_phone_lead_to_sections(open_app: Opener) -> None:
    app = open_app(page="glossary")
    (index,) = [text.value for text in app.markdown if text.value.startswith("**All ")]
    keys = re.findall(r"\(#([^)]+)\)", index)
    assert len(keys) == len({term.section for term in TERMS})
    assert all(f'<h2 id="{key}"' in terms_html(app) for key in keys)


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.key)
def test_a_title_finds_its_term(term: object) -> None:
    from explorer.ui.glossary.terms import matches

    title = term.title  # type: ignore[attr-defined]
    assert term in matches(title, search(title))


def test_a_link_to_a_term_opens_it_before_terms_that_mention_it(open_app: Opener) -> None:
    title = next(term.title for term in TERMS if term.key == "event_collapse")
    app = open_app(page="glossary", term=title)
    style = "\n".join(element.proto.body for element in app.get("html"))
    assert re.search(r"\.term-event_collapse \{[^}]*order: -1", style)


def test_terms_with_the_word_in_their_title_come_before_those_that_mention_it(open_app: Opener) -> None:
    app = open_app(page="glossary", term="collapse")
    style = "\n".join(element.proto.body for element in app.get("html"))
    orders = {key: int(place) for key, place in re.findall(r"\.term-(\w+) \{ order: (-\d+)", style)}
    assert min(orders, key=lambda key: orders[key]) == "collapse"
    assert sorted(orders.values()) == list(range(-len(orders), 0)), "they keep their order"
    assert set(orders) == {term.key for term in search("collapse") if "collapse" in term.title.casefold()}
    rest = len(search("collapse")) - len(orders)
    mention = sentence("glossary.mentions", about=len(orders), rest=rest, word="collapse")
    assert any(mention in text.value for text in app.markdown)


def test_a_word_hides_the_terms_without_it_and_draws_none_anew(open_app: Opener) -> None:
    app = open_app(page="glossary")
    before = terms_html(app)
    app.text_input(key="term").set_value("bias").run()
    style = "\n".join(element.proto.body for element in app.get("html"))
    (hiding,) = re.findall(r"[^{}]+\{ display: none !important; \}", style.partition("<style>[class")[2])
    hidden = {key for key in re.findall(r"\.term-([\w-]+)", hiding) if not key.startswith("section-")}
    assert hidden == {term.key for term in TERMS} - {term.key for term in search("bias")}
    assert terms_html(app) == before


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.key)
def test_every_formula_is_mathml_without_a_rest_of_latex(term: Term) -> None:
    html = term_html(term, "term")
    formulas = len(show.formula_parts(term.formula)) if term.formula else 0
    in_text = len(re.findall(r"\$[^$]+\$", f"{term.text} {term.note}"))
    assert html.count("<math ") == formulas + in_text
    assert not re.findall(r"\$|\\[a-z]+|[\ue000\ue001]", html)


def test_text_is_markdown_and_not_html() -> None:
    html = markdown("a < b, *x* and **y**, `k=1`, $s_i^*$ and <i>z</i>")
    assert "a &lt; b, <em>x</em> and <strong>y</strong>, <code>k=1</code>" in html
    assert "&lt;i&gt;z&lt;/i&gt;" in html
    assert html.count("<math ") == 1


def test_a_symbol_has_one_meaning() -> None:
    """u is the update rate, e_i the load error and f_i the share of the load, in every formula."""
    formulas = {term.key: f"{term.formula} {term.note}" for term in TERMS}
    assert not [key for key, text in formulas.items() if re.search(r"u_t|u_\{", text)]
    errors = {key for key, text in formulas.items() if re.search(r"(?<!tilde )\be_i", text)}
    assert errors == {"loss_free"}
    defined = re.findall(r"(?<!tilde )\bf_i = (\S+)", " ".join(formulas.values()))
    assert set(defined) == {r"\frac{c_i}{K\,T},"}


def test_a_sign_stays_on_the_line_of_the_formula_before_it() -> None:
    html = markdown(r"Near ($x$), at $y = 0.1$. Then $z$ follows")
    parts = re.findall(r'<span class="whole">(.*?)</span>', html)
    assert [re.sub(r"<math.*</math>", "M", part) for part in parts] == ["(M),", "M."]
    assert html.count("<math") == 3


@pytest.mark.parametrize("term", [term for term in TERMS if term.formula], ids=lambda term: term.key)
def test_no_latex_is_left_in_a_formula(term: Term) -> None:
    assert "\\" not in term_html(term, "term")


def test_the_name_of_a_function_stands_apart_from_its_argument() -> None:
    html = markdown(r"$N \ln K / \ln N$")
    assert len(re.findall(r"<mi>ln</mi><mspace[^>]*/><mi>", html)) == 2
    assert len(re.findall(r"<mspace[^>]*/><mi>ln</mi>", html)) == 1, "none behind a stroke"
    assert "<msub><mi>log</mi><mn>2</mn></msub>" in markdown(r"$\log_2 D$")
