"""Finding a term in the Glossary."""

from dataclasses import dataclass, field

from explorer.metrics import glossary


@dataclass
class CountedTerm:
    """A term that counts how often it is read."""

    key: str = "bias"
    title: str = "Expert bias"
    note: str = ""
    reads: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        self.reads.append("text")
        return "added to the scores"


def test_a_search_finds_terms_that_have_all_words() -> None:
    assert "max_vio" in [term.key for term in glossary.search("MaxVio mean")]
    assert not glossary.search("MaxVio zzzz")


def test_the_work_of_a_search_does_not_grow_with_words_that_repeat() -> None:
    """A hundred thousand letters of an address are one word, said often."""
    term = CountedTerm()
    assert glossary.search("bias " * 20_000, [term]) == [term]  # type: ignore[list-item]
    assert len(term.reads) == 1
