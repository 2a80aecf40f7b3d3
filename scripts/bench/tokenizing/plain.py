"""The baseline for revlm: `python -m bench.tokenizing.plain MODEL CORPUS RESULT`, in a separate process.

Each file is read, decoded and encoded whole by SentencePiece; nothing is cleaned, checked or stored. The seconds of
that alone are written to RESULT, a JSON file, with digests of each document's ids.
"""

import json
import sys
import time
from pathlib import Path

import sentencepiece

from bench.tokenizing.ids import IdsDigest


def encode_corpus(model: Path, corpus: Path) -> dict[str, object]:
    """Returns `encode_seconds`, and `documents`, the ids of each by its path below the corpus."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    seconds = 0.0
    documents = {}
    for path in sorted(corpus.rglob("*.txt")):
        began = time.perf_counter()
        ids = processor.encode(path.read_bytes().decode())
        seconds += time.perf_counter() - began
        digest = IdsDigest()
        digest.add(ids)
        documents[str(path.relative_to(corpus))] = digest.ids()
    return {"encode_seconds": seconds, "documents": documents}


if __name__ == "__main__":
    model, corpus, result = map(Path, sys.argv[1:])
    result.write_text(json.dumps(encode_corpus(model, corpus)))
