"""Several continuations of a prompt, and the text of each that can be shown while it grows."""

from collections.abc import Callable, Sequence
from typing import Any

from revlm.corpus import Tokenizer
from revlm.generation.text_generator import SampledToken, TextGenerator
from revlm.generation.text_stream import TextStream


class Sample:
    """One growing sample: its tokens, their log-probabilities, and the text that can be shown.

    Attributes:
        text: the text that can be shown so far.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self.text = ""
        self._stream = TextStream(stop)
        self._piece_bytes = tokenizer.piece_bytes
        self._drawn: list[SampledToken] = []

    @property
    def is_stopped(self) -> bool:
        """Whether a stop text has ended the sample."""
        return self._stream.stopped_by is not None

    def add(self, drawn: SampledToken) -> str:
        """Adds a token; returns the text that it completes."""
        self._drawn.append(drawn)
        return self._shown(self._stream.push(self._piece_bytes[drawn.token]))

    def finish(self) -> str:
        """Returns what was held back."""
        return self._shown(self._stream.finish())

    def content(self) -> bytes:
        """Returns the bytes of its tokens, without those of the stop text that ended it.

        Only for a model of bytes: its tokens are one byte each, so nothing follows the stop text.
        """
        whole = b"".join(self._piece_bytes[drawn.token] for drawn in self._drawn)
        return whole.removesuffix((self._stream.stopped_by or "").encode())

    def described(self) -> dict[str, Any]:
        """Returns the sample as JSON values. Its tokens include those of the stop text."""
        return {
            "text": self.text,
            "tokens": [drawn.token for drawn in self._drawn],
            "log_probabilities": [drawn.log_probability for drawn in self._drawn],
            "stopped_by": self._stream.stopped_by,
        }

    def _shown(self, piece: str) -> str:
        self.text += piece
        return piece


def draw_samples(
    generator: TextGenerator,
    samples: Sequence[Sample],
    max_tokens: int,
    show: Callable[[str], object] = lambda piece: None,
    is_enough: Callable[[], bool] = lambda: False,
) -> None:
    """Samples tokens until every sample is stopped; shows the first sample as it grows.

    `is_enough` is called before each token; once it returns true, all samples end.
    """
    first = samples[0]
    for draws in generator.continue_tokens(max_tokens, lambda number: is_enough() or samples[number].is_stopped):
        for sample, drawn in zip(samples, draws, strict=True):
            if drawn is not None:
                piece = sample.add(drawn)
                if sample is first:
                    show(piece)
    for sample in samples:
        piece = sample.finish()
        if sample is first:
            show(piece)
