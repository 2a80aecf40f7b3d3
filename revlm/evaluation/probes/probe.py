"""The interface of a probe. Probes import torch only when they measure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from revlm.evaluation.views import Panel, Table

if TYPE_CHECKING:
    from revlm.corpus import Tokenizer
    from revlm.evaluation.scorer import Scorer, Tokens
    from revlm.evaluation.texts import Text

CONTEXT_LENGTHS = (256, 1024, 4096, 16384, 65536)


@dataclass(frozen=True)
class ProbeOptions:
    """Which probes run, by name, and on how much text.

    `samples` documents are drawn by `seed`, and `tokens` tokens in total are taken from their beginnings. `lengths` are
    context lengths, and distances of needles; `repeat_context` is the number of tokens in the contexts of repeats.
    """

    asked: frozenset[str] = frozenset()
    lengths: tuple[int, ...] = CONTEXT_LENGTHS
    samples: int = 8
    tokens: int = 65536
    seed: int = 0
    repeat_context: int = 3


@dataclass(frozen=True)
class ProbeInput:
    """The input of a probe: a model, a sample of held-out texts, and the options of the command.

    The model was trained on examples of `seq_len` tokens, each document after the token `begin_id`. `progress` is
    called before each pass over a text.
    """

    scorer: "Scorer"
    texts: "Sequence[Text]"
    options: ProbeOptions
    begin_id: int
    tokenizer: "Tokenizer"
    seq_len: int
    progress: Callable[[str], object]

    @cached_property
    def beginnings(self) -> "list[Text]":
        """The beginnings of the texts, `options.tokens` tokens in total."""
        from revlm.evaluation.texts import beginnings

        return beginnings(self.texts, self.seq_len, self.options.tokens)

    @cached_property
    def longest(self) -> "list[Text]":
        """The longest quarter of the texts, at least one."""
        return sorted(self.texts, key=len, reverse=True)[: max(1, self.options.samples // 4)]

    @cached_property
    def vocabulary(self) -> "Tokens":
        """The tokens that occur in the texts, in ascending order."""
        from revlm.evaluation.texts import vocabulary_of

        return vocabulary_of(self.texts)


def no_panels(result: Any) -> Sequence[Panel]:
    """For a probe without a picture."""
    return ()


@dataclass(frozen=True)
class Probe:
    """A probe: its option, its measurement, and how the results are shown.

    Attributes:
        name: its key in evaluation.json, and the name of its picture.
        option: its option of `revlm evaluate`, with its `help`.
        title: the heading of its results.
        measure: returns its record, whose schema is in `revlm.records`.
        tables: returns its tables for the terminal and the report.
        panels: returns the panels of its picture; none if there is nothing to draw.
        caption: returns sentences that say what the picture shows.
        compared: whether a comparison of runs draws them into one picture; it then has one chart with one line.
    """

    name: str
    option: str
    help: str
    title: str
    measure: Callable[[ProbeInput], Any]
    tables: Callable[[Any], Sequence[Table]]
    panels: Callable[[Any], Sequence[Panel]] = no_panels
    caption: Callable[[Any], str] = lambda result: ""
    compared: bool = False
