"""Text, domains, tokenizer and seeded batches.

`load_corpus(CorpusConfig(...))` gives a `Corpus`; `load_human_eval()` gives the evaluation problems.
Importing this package loads neither torch nor tokenizers.
"""

from explorer.corpus.batches import Batch, HeldOutBatch
from explorer.corpus.corpus import Corpus, load_corpus
from explorer.corpus.human_eval import HumanEvalProblem, load_human_eval
from explorer.corpus.tokenizer import Tokenizer, tokenizer_from_json

__all__ = [
    "Batch",
    "Corpus",
    "HeldOutBatch",
    "HumanEvalProblem",
    "Tokenizer",
    "load_corpus",
    "load_human_eval",
    "tokenizer_from_json",
]
