"""Trains the SentencePiece model of a corpus.

BPE, not unigram: on 33 novels (33 MB) at vocabulary 2,048, BPE trained in 2 seconds and 340 MB, unigram in 76 seconds
and 730 MB, and BPE gave fewer tokens (10.65 against 10.67 million). BPE counts are exact integers, so the same corpus
gives the same model on every machine. The most frequent characters that make up `CHARACTER_COVERAGE` of the text are
pieces; rarer ones are encoded as bytes, without loss.
"""

import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from revlm.corpus.tokenizing.tokenizer import SPACE_MARK, SentencePieceTokenizer
from revlm.errors import DataError, UsageError

VOCAB_SIZE = 2048
CHARACTER_COVERAGE = 0.9995  # SentencePiece's default
IDS_OF_NO_CHARACTER = 256 + len(("unknown", "begin", "newline"))
# SentencePiece's limit; longer lines are cut, at a space where possible, never dropped.
LINE_LIMIT_BYTES = 4192
# The trainer drops a line that holds one of these, so lines are split at them; they are encoded as bytes.
_RESERVED_CHARACTERS = f"\\0\\t\\n\\u2585{SPACE_MARK}"
_RESERVED = re.compile(f"[{_RESERVED_CHARACTERS}]")


def train_sentencepiece(
    texts: Iterable[str],
    *,
    vocab_size: int | None = None,
    character_coverage: float | None = None,
    message: Callable[[str], object] = lambda text: None,
) -> SentencePieceTokenizer:
    """Returns a tokenizer of exactly `vocab_size` ids: 256 bytes, begin, newline, characters, merges.

    Both options have defaults. The default coverage rises to all characters where the vocabulary cannot be filled
    otherwise. Where neither option is given and characters would take more than half of the vocabulary, it falls until
    they do not, which `message` reports.

    Raises:
        UsageError: `vocab_size` is below what bytes and characters need, or above what the texts can fill; the message
            names the smallest or the largest possible size.
        DataError: the texts hold nothing to train on.
    """
    held = list(texts)
    characters = _Characters(held)
    coverage = character_coverage or CHARACTER_COVERAGE
    room = (VOCAB_SIZE - IDS_OF_NO_CHARACTER) // 2
    if vocab_size is None and character_coverage is None and characters.kept(coverage) > room:
        coverage = characters.share(room)
        message(
            f"the corpus has {len(characters.codes):,} different characters: the {room:,} most frequent, "
            f"{coverage:.2%} of it, get ids and rarer ones are stored as bytes, so that half of the vocabulary of "
            f"{VOCAB_SIZE:,} is left for words; --vocab-size or --character-coverage changes that"
        )
    try:
        model = _trained(held, vocab_size, characters.rare(coverage))
    except _VocabularyNotFilled:
        if character_coverage is not None or not characters.rare(coverage):
            raise
        model = _trained(held, vocab_size, "")
    return SentencePieceTokenizer(model, "the trained model")


class _Characters:
    """The characters of texts, most frequent first, without those that the trainer reserves."""

    def __init__(self, texts: Iterable[str]) -> None:
        counts = np.zeros(sys.maxunicode + 1, dtype=np.int64)
        for text in texts:
            codes = np.frombuffer(_RESERVED.sub("", text).encode("utf-32-le"), "<u4")
            values, found = np.unique(codes, return_counts=True)
            counts[values] += found
        order = np.argsort(-counts, kind="stable")
        self.codes = order[: np.count_nonzero(counts)]
        self._sums = np.concatenate([[0], np.cumsum(counts[self.codes])])

    def kept(self, coverage: float) -> int:
        """Returns the number of most frequent characters that make up at least `coverage` of the texts."""
        return int(np.count_nonzero(self._sums[:-1] < coverage * self._sums[-1]))

    def rare(self, coverage: float) -> str:
        """Returns the characters beyond `coverage`."""
        return "".join(map(chr, self.codes[self.kept(coverage) :]))

    def share(self, most: int) -> float:
        """Returns the share of the texts that the `most` frequent ones make up."""
        return float(self._sums[most] / self._sums[-1])


class _VocabularyNotFilled(UsageError):
    """The texts have too few different words for the vocabulary."""


def _trained(texts: Iterable[str], vocab_size: int | None, rare: str) -> bytes:
    """Returns the model trained on the texts, none of whose pieces contains a rare character."""
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    lines = _TrainingLines(texts, rare)
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="bpe",
            # 256 is never enough, but with less the trainer can fail without naming the bound.
            vocab_size=max(VOCAB_SIZE if vocab_size is None else vocab_size, 256),
            # The trainer rejects values below 0.98, so lines are split at the rare characters instead.
            character_coverage=1.0,
            # Without a piece of its own a space would be encoded, and decoded, as the bytes of its mark.
            required_chars=SPACE_MARK,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            user_defined_symbols=["\n"],
            unk_id=0,
            bos_id=1,
            eos_id=-1,
            pad_id=-1,
            max_sentence_length=LINE_LIMIT_BYTES,
            input_sentence_size=0,
            shuffle_input_sentence=False,
            num_threads=1,
            minloglevel=4,
        )
    except (RuntimeError, OSError, ValueError, OverflowError, TypeError) as error:
        if lines.failure is None:
            raise _training_error(vocab_size, str(error)) from error
    if lines.failure is not None:
        raise lines.failure
    return model.getvalue()


class _TrainingLines:
    """The lines of the texts, split at characters that must not become pieces, and cut to the trainer's limit.

    An exception of the texts must not unwind through the trainer's C++ frames: it ends the lines and is kept.
    """

    def __init__(self, texts: Iterable[str], rare: str) -> None:
        self._texts = texts
        self._ends = re.compile(f"[{_RESERVED_CHARACTERS}{re.escape(rare)}]")
        self.failure: BaseException | None = None

    def __iter__(self) -> Iterator[str]:
        try:
            for text in self._texts:
                for line in self._ends.split(text):
                    yield from cut_line(line, LINE_LIMIT_BYTES)
        except GeneratorExit:  # the trainer stopped consuming; the texts did not fail
            raise
        except BaseException as error:
            self.failure = error


def cut_line(line: str, limit_bytes: int) -> Iterator[str]:
    """Yields `line` in parts of at most `limit_bytes` of UTF-8, cut before a space where possible.

    The joined parts are the line; an empty line yields nothing.
    """
    if line and len(line.encode()) <= limit_bytes:
        yield line
        return
    longest = limit_bytes // 4  # a character has at most four bytes
    start = 0
    while start < len(line):
        end = start + longest
        space = line.rfind(" ", start + 1, end) if end < len(line) else -1
        stop = space if space > start else end
        yield line[start:stop]
        start = stop


def _training_error(vocab_size: int | None, message: str) -> UsageError | DataError:
    """Returns the trainer's error as one sentence with a remedy; the bounds are the trainer's own."""
    size = f"the default vocabulary of {VOCAB_SIZE:,}" if vocab_size is None else f"--vocab-size {vocab_size}"
    give = "give --vocab-size: " if vocab_size is None else ""
    if "sentences_.empty()" in message:
        return DataError("the corpus holds no characters to train a tokenizer on; pass --tokenizer bytes")
    if smallest := re.search(r"smaller than required_chars\. \S+ vs (\d+)", message):
        return UsageError(
            f"{size} is too small for the 256 bytes and the characters of the corpus; {give}the smallest that works "
            f"is {smallest.group(1)} (or lower --character-coverage, which stores rarer characters as bytes)"
        )
    if largest := re.search(r"too high.*<= (\d+)", message):
        return _VocabularyNotFilled(
            f"{size} is more than this small corpus can fill; {give}the largest that works is {largest.group(1)} "
            "(or pass --tokenizer bytes)"
        )
    detail = " ".join(message.split()).rstrip(".")
    return UsageError(
        f"SentencePiece cannot train with {size.replace('the default', 'a')}: {detail}; pass --tokenizer bytes"
    )
