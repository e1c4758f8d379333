"""The corpus section of a run's configuration."""

from dataclasses import dataclass

from explorer.config.checks import check_int
from explorer.errors import ConfigError, one_of

CORPORA = ("austen", "python", "mix", "two_hop", "code")


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """The text and its tokenizer."""

    name: str = "mix"
    """austen (prose), python (the standard library's source), mix (six domains), two_hop (generated
    questions) or code (Python source, lines to fill in, generated programs)."""
    tokenizer: str = "bpe"
    """bpe (byte-level, trained on the corpus) or bytes (the 256 byte values)."""
    vocab_size: int = 1024
    """Number of token ids; 256 with the bytes tokenizer."""

    def __post_init__(self) -> None:
        one_of("corpus.name", self.name, CORPORA)
        one_of("corpus.tokenizer", self.tokenizer, ("bpe", "bytes"))
        check_int("corpus.vocab_size", self.vocab_size, least=256)
        if self.tokenizer == "bytes" and self.vocab_size != 256:
            raise ConfigError(
                "corpus.vocab_size", self.vocab_size, "must be 256 with the bytes tokenizer", "set it to 256"
            )
        if self.tokenizer == "bpe" and self.vocab_size < 264:
            raise ConfigError(
                "corpus.vocab_size",
                self.vocab_size,
                "leaves no room for merges beside the 256 byte symbols",
                "use 264 or more, or corpus.tokenizer=bytes",
            )
