"""Checks that the tokenizer of an exported model gives the ids of `revlm tokenize`, and decodes them to the same bytes.

    scripts/check_tokenizer.py data/texts/novels --model novels-model

Every text is encoded by both and decoded again, and the offsets are checked against the text.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from transformers import AutoTokenizer

from bench.command import run
from revlm.corpus import Tokenizer, read_documents
from revlm.errors import DataError


def main(
    texts: Annotated[Path, typer.Argument(help="A text, or a folder of texts.")],
    model: Annotated[Path, typer.Option(help="A folder of `revlm checkpoint export --format huggingface`.")],
) -> None:
    """Compare both tokenizers on each text; print the totals."""
    own, other = Tokenizer.load(model), AutoTokenizer.from_pretrained(model, trust_remote_code=True)
    documents = tokens = total_bytes = 0
    for document in read_documents(texts):
        ids = own.encode(document.text)
        row = other(document.text, add_special_tokens=False, return_offsets_mapping=True)
        if not np.array_equal(ids, row["input_ids"]):
            raise DataError(f"{document.title}: the ids differ: export the model again")
        if other.decode(row["input_ids"]).encode() != document.text.encode():
            raise DataError(f"{document.title}: the ids decode to another text: export the model again")
        starts, stops = np.array(row["offset_mapping"]).T
        if starts[0] != 0 or stops[-1] != len(document.text) or (starts[1:] > stops[:-1]).any():
            raise DataError(f"{document.title}: the offsets leave out characters: export the model again")
        documents, tokens, total_bytes = documents + 1, tokens + len(ids), total_bytes + len(document.text.encode())
    print(f"{documents:,} texts, {tokens:,} tokens, {total_bytes:,} bytes: the same ids, bytes and characters")


if __name__ == "__main__":
    run(main)
