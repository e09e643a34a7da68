"""The tokenizer of training, which is the bundled one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ctxpack.scoring.manifest import MODELS, TOKENIZER
from ctxpack.scoring.segments import WordPieces


def word_pieces() -> WordPieces:
    """Return the bundled tokenizer; every base has its vocabulary."""
    return WordPieces(_tokenizer())


def continuations() -> NDArray[np.bool_]:
    """Return (n_vocabulary,): whether a word piece goes on with the word of the piece before."""
    vocabulary = _tokenizer().get_vocab()
    found = np.zeros(max(vocabulary.values()) + 1, np.bool_)
    found[[number for piece, number in vocabulary.items() if piece.startswith("##")]] = True
    return found


def _tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(MODELS / TOKENIZER))
