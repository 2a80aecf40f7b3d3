"""From texts to token ids: worker processes that encode in turns (`workers`)."""

from revlm.corpus.tokenizing.workers import Workers

__all__ = ["Workers"]
