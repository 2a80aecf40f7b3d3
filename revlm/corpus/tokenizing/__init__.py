"""From text to token ids and back.

    text -> parts (cutting) -> words -> ids (tokenizer) -> blocks, checked, in several processes (encoding)
    corpus -> sample -> tokenizer (training), whose model SentencePiece makes (sentencepiece_training)

`tokenizer` knows no corpus, `training` reads one.
"""

from revlm.corpus.tokenizing.tokenizer import ByteTokenizer, SentencePieceTokenizer, Tokenizer, open_tokenizer

__all__ = ["ByteTokenizer", "SentencePieceTokenizer", "Tokenizer", "open_tokenizer"]
