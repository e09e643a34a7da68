"""The tokenizer of training, which is the bundled one."""

from __future__ import annotations

from tokenizers import Tokenizer

from ctxpack.scoring.manifest import MODELS, TOKENIZER
from ctxpack.scoring.segments import WordPieces


def word_pieces() -> WordPieces:
    """Return the bundled tokenizer; every base has its vocabulary."""
    return WordPieces(Tokenizer.from_file(str(MODELS / TOKENIZER)))
