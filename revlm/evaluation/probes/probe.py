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

    `samples` documents are drawn by `seed`; `tokens` tokens are taken from their beginnings. `lengths` are contexts,
    and distances of needles; `repeat_context` is how many tokens the contexts of repeats have.
    """

    asked: frozenset[str] = frozenset()
    lengths: tuple[int, ...] = CONTEXT_LENGTHS
    samples: int = 8
    tokens: int = 65536
    seed: int = 0
    repeat_context: int = 3


@dataclass(frozen=True)
class ProbeInput:
    """What a probe measures: a model, a sample of held-out texts, and the options of the command.

    The model was trained on `seq_len` tokens at a time, each document after the token `begin_id`; `progress` is told
    of each pass over a text before it is made.
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
    """A probe: how it is asked for, measured and shown.

    Attributes:
        name: its key in evaluation.json, and the name of its picture.
        option: of `revlm evaluate`, with its `help`.
        title: the heading of what it shows.
        measure: returns its record, whose schema is in `revlm.records`.
        tables: for the terminal and the page.
        panels: of its picture; none where there is nothing to draw.
        caption: what the picture shows, in sentences.
        compared: whether pictures of several runs are laid over each other, of one chart with one line each.
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
