"""What revlm is held against: `python -m bench.tokenizing.plain MODEL CORPUS RESULT`, alone in its process.

Each file is read, decoded and encoded whole by SentencePiece itself; nothing is cleaned, checked or kept. The seconds
of that alone are written to RESULT, a file of JSON, with the ids of each document as digests.
"""

import json
import sys
import time
from pathlib import Path

import sentencepiece

from bench.tokenizing.ids import IdsDigest


def encode_corpus(model: Path, corpus: Path) -> dict[str, object]:
    """Returns `encode_seconds`, and the `documents`: their ids by their path below the corpus."""
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
