"""Makes the corpus of the recipe `recall`: novels in which facts are hidden, which the end of each document asks for.

    scripts/make_recall_corpus.py novels -o data/texts/recall --shortest 256 --tokens 16000 --documents 2000 \\
        --density 0.75 --pairs 1024 --keys 256 --hops 128 --passkeys 64
    scripts/make_recall_corpus.py novels -o data/texts/recall-short --shortest 128 --tokens 512 --documents 20000 \\
        --density 0.9 --pairs 16 --keys 256 --hops 128 --passkeys 16 --seed 1
    revlm tokenize data/texts/recall -o data/recall --vocab-size 10240 --character-coverage 1
    revlm tokenize data/texts/recall-short -o data/recall-short --tokenizer data/recall
    revlm tokenize novels -o data/recall-novels --tokenizer data/recall
    revlm train recall
    scripts/make_recall_corpus.py novels -o data/texts/recall-64k --tokens 74000 --documents 16 --seed 3
    revlm tokenize data/texts/recall-64k -o data/recall-64k --tokenizer data/recall
    revlm evaluate --run runs/recall --data data/recall-64k --answers --rounds 12 --buckets 262144

A document is text of one novel with pass keys, keys with values, keys that lead to other keys, and pairs for
multi-query associative recall at random places; `revlm/evaluation/questions.py` says how they are written. A token is
taken as 2.7 bytes, about what these documents have in a vocabulary of this size, so the lengths are rough. The same
options and seed give the same bytes.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from bench.command import run
from bench.tokenizing.corpora import find_novels
from revlm.errors import DataError, UsageError
from revlm.evaluation.questions import KEYS, QUESTION, VALUES, passkey
from revlm.storage import replace_file, storage_errors

_BYTES_A_TOKEN = 2.7
_VALUE_SYMBOLS = 3
_FIVE_DIGITS = (10_000, 100_000)
# Stated and asked: tokens of a pair, of a key with its value, of a key that leads to another, and of a named pass key.
_PAIR_TOKENS, _KEY_TOKENS, _HOP_TOKENS, _PASSKEY_TOKENS = 4, 14, 14, 26


@dataclass(frozen=True)
class Facts:
    """How much one document states beside its pass key.

    Attributes:
        pairs: Pairs for multi-query associative recall.
        keys: Keys with values.
        hops: Keys that lead to the value of another key.
        passkeys: Named pass keys. With them, a digit is found by more than the digit before it.
    """

    pairs: int
    keys: int
    hops: int
    passkeys: int

    @staticmethod
    def fitting(tokens: int, density: float, most: "Facts") -> "Facts":
        """Returns the facts of `most` that fit into this share of a document, an equal part of it for each kind."""
        room = tokens * density / (4 if most.passkeys else 3)
        return Facts(
            pairs=min(most.pairs, max(4, int(room / _PAIR_TOKENS))),
            keys=min(most.keys, max(1, int(room / _KEY_TOKENS))),
            hops=min(most.hops, max(1, int(room / _HOP_TOKENS))),
            passkeys=min(most.passkeys, max(1, int(room / _PASSKEY_TOKENS))),
        )


def document(novel: str, tokens: int, facts: Facts, generator: np.random.Generator) -> str:
    """Returns a text of about so many tokens: part of a novel with statements in it, and questions about them."""
    keys = _symbols(KEYS, facts.pairs + facts.keys + 2 * facts.hops + facts.passkeys, generator)
    values = _symbols(VALUES, facts.pairs + _VALUE_SYMBOLS * facts.keys + facts.hops, generator)
    pairs = [keys.pop() + values.pop() for _ in range(facts.pairs)]
    of_keys = [f"{keys.pop()}:{''.join(values.pop() for _ in range(_VALUE_SYMBOLS))}" for _ in range(facts.keys)]
    hops = [(keys.pop(), keys.pop(), values.pop()) for _ in range(facts.hops)]
    pass_key, *named = [
        passkey(number, of)
        for number, of in zip(
            generator.integers(*_FIVE_DIGITS, size=1 + facts.passkeys).tolist(), ["", *keys], strict=True
        )
    ]
    stated = [
        f"{pass_key} Remember it.",
        "".join(pairs),
        *of_keys,
        *(f"{first}:{second}" for first, second, _ in hops),
        *(f"{second}:{value}" for _, second, value in hops),
        *named,
    ]
    asked = "\n".join(
        [
            QUESTION,
            pass_key,
            *_shuffled(named, generator),
            *_shuffled(of_keys, generator),
            *_shuffled([_asked_hop(*hop, written=number % 2 == 1) for number, hop in enumerate(hops)], generator),
            "".join(_shuffled(pairs, generator)),
        ]
    )
    room = round(tokens * _BYTES_A_TOKEN) - sum(len(text.encode()) + 2 for text in (*stated, asked))
    return f"{_hidden(stated, _part(novel, room, generator), generator)}\n{asked}\n"


def documents(
    novels: list[str],
    number: int,
    lengths: tuple[int, int],
    density: float,
    most: Facts,
    generator: np.random.Generator,
) -> Iterator[str]:
    """Yields documents whose lengths are drawn evenly in their logarithm."""
    shortest, longest = np.log(lengths)
    for _ in range(number):
        tokens = round(float(np.exp(generator.uniform(shortest, longest))))
        novel = novels[generator.integers(len(novels))]
        yield document(novel, tokens, Facts.fitting(tokens, density, most), generator)


def _asked_hop(first: str, second: str, value: str, *, written: bool) -> str:
    """The question for what two statements tell; its answer holds the first hop where that is written, too."""
    return f"{first}:{second}:{value}" if written else f"{first}::{value}"


def _symbols(symbols: range, number: int, generator: np.random.Generator) -> list[str]:
    """Different symbols, in a random order."""
    return [chr(symbols[place]) for place in generator.choice(len(symbols), size=number, replace=False).tolist()]


def _shuffled(texts: list[str], generator: np.random.Generator) -> list[str]:
    return [texts[place] for place in generator.permutation(len(texts)).tolist()]


def _part(novel: str, size: int, generator: np.random.Generator) -> str:
    """Part of a novel of at most so many bytes, which starts again from its beginning where it ends."""
    start = int(generator.integers(len(novel)))
    repeated = novel[start:] + "\n" + novel * (1 + size // max(len(novel), 1))
    return repeated[: max(size, 0)].encode()[: max(size, 0)].decode(errors="ignore")


def _hidden(stated: list[str], text: str, generator: np.random.Generator) -> str:
    """The text with statements at random places, on lines of their own."""
    places = np.sort(generator.integers(len(text) + 1, size=len(stated))).tolist()
    parts, before = [], 0
    for place, statement in zip(places, _shuffled(stated, generator), strict=True):
        parts += [text[before:place], f"\n{statement}\n"]
        before = place
    return "".join([*parts, text[before:]])


def main(
    novels: Annotated[Path, typer.Argument(help="A folder of .txt files in UTF-8.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder of the corpus, one .jsonl file.")],
    documents_: Annotated[int, typer.Option("--documents", min=1, help="Documents.")] = 8,
    tokens: Annotated[int, typer.Option(min=128, max=2**24, help="Tokens of a document, about.")] = 16384,
    shortest: Annotated[
        int | None, typer.Option(min=128, help="Draw lengths from this one up to --tokens; default: --tokens alone.")
    ] = None,
    density: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of a document that facts and questions may take.")
    ] = 0.25,
    pairs: Annotated[int, typer.Option(min=1, max=1024, help="Pairs of a document that has room for them.")] = 256,
    keys: Annotated[int, typer.Option(min=1, max=512, help="Keys with values of such a document.")] = 32,
    hops: Annotated[int, typer.Option(min=1, max=512, help="Keys that lead to other keys of such a document.")] = 32,
    passkeys: Annotated[int, typer.Option(min=0, max=512, help="Named pass keys of such a document.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Seed of texts, symbols and places.")] = 0,
) -> None:
    """Make documents that state facts and ask for them at their end."""
    if shortest is not None and shortest > tokens:
        raise UsageError(f"--shortest {shortest} is above --tokens {tokens}: give a smaller one")
    texts = [path.read_text(encoding="utf-8") for path in find_novels(novels)]
    if not any(texts):
        raise DataError(f"{novels} has no text: give a folder of novels")
    generator = np.random.default_rng(seed)
    made = documents(
        [text for text in texts if text],
        documents_,
        (shortest or tokens, tokens),
        density,
        Facts(pairs, keys, hops, passkeys),
        generator,
    )
    with storage_errors(f"writing {output}"):
        output.mkdir(parents=True, exist_ok=True)
        lines = "".join(
            json.dumps({"title": f"{n}", "text": text}, ensure_ascii=False) + "\n" for n, text in enumerate(made)
        )
        replace_file(output / "recall.jsonl", lines.encode())
    print(f"{output}: {documents_:,} documents of {f'{shortest:,} to ' if shortest else ''}{tokens:,} tokens")


if __name__ == "__main__":
    run(main)
