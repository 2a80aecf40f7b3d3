"""From text to token ids and back.

    text -> parts (cutting) -> words -> ids (tokenizer) -> chunks, verified, in several processes (encoding, workers)
    corpus -> sample -> tokenizer (training), whose model SentencePiece trains (sentencepiece_training)

`tokenizer` reads no corpus; `training` reads one.
"""

from revlm.corpus.tokenizing.tokenizer import (
    BinaryTokenizer,
    ByteTokenizer,
    PixelTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
)
from revlm.corpus.tokenizing.workers import Workers

__all__ = ["BinaryTokenizer", "ByteTokenizer", "PixelTokenizer", "SentencePieceTokenizer", "Tokenizer", "Workers"]
