"""Continues a prompt, one token at a time, at the same cost whatever the length."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from revlm.errors import UsageError
from revlm.generation.decoding import Decoder
from revlm.generation.loading import TrainedModel, load_model
from revlm.model import RevLM


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn: temperature 0 takes the likeliest; top_k 0 and top_p 1 leave every token in.

    Raises:
        UsageError: a value is out of range.
    """

    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise UsageError(f"temperature is {self.temperature}: give 0 (the likeliest token) or more")
        if self.top_k < 0:
            raise UsageError(f"top-k is {self.top_k}: give 0 (every token) or more")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top-p is {self.top_p}: give a share above 0 and at most 1")

    def draw(self, logits: Float[Tensor, "vocabulary"], generator: torch.Generator) -> int:
        """Returns one token; ties and order follow the token numbers, so a seed always gives the same one."""
        if self.temperature == 0:
            return int(logits.argmax())
        ordered, token = torch.sort(logits.double() / self.temperature, descending=True, stable=True)
        probability = ordered.softmax(-1)
        if self.top_k:
            probability[self.top_k :] = 0
        # The nucleus (Holtzman et al., arXiv 1904.09751): the fewest likeliest tokens that reach top_p together.
        reached_before = probability.cumsum(-1) - probability
        probability[reached_before >= self.top_p * probability.sum()] = 0
        return int(token[torch.multinomial(probability, 1, generator=generator)])


@torch.no_grad()
def continue_tokens(
    model: RevLM, tokens: list[int], max_tokens: int, sampling: Sampling, seed: int, *, begin_id: int
) -> Iterator[int]:
    """Yields up to `max_tokens` tokens after `tokens` (without a begin token), drawn with a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    device = model.head_weight.device
    was_training = model.training
    model.eval()
    try:
        decoder = Decoder(model)
        logits = decoder.extend(torch.tensor([begin_id, *tokens], device=device))
        for drawn in range(1, max_tokens + 1):
            logits = logits.float().cpu()
            logits[begin_id] = -torch.inf
            token = sampling.draw(logits, generator)
            yield token
            if drawn < max_tokens:
                logits = decoder.step(torch.tensor([token], device=device))[0]
    finally:
        model.train(was_training)


def continue_text(
    trained: TrainedModel, prompt: str, *, max_tokens: int, sampling: Sampling, seed: int
) -> Iterator[str]:
    """Yields for each token after a prompt the characters that it completes, and at the end what is left of one."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    tokenizer = trained.tokenizer
    tokens = tokenizer.encode(prompt).tolist()
    for token in continue_tokens(trained.model, tokens, max_tokens, sampling, seed, begin_id=tokenizer.begin_id):
        yield decoder.decode(tokenizer.piece_bytes[token])
    yield decoder.decode(b"", final=True)


def generate(
    prompt: str,
    run: Path | str,
    *,
    max_tokens: int = 256,
    sampling: Sampling | None = None,
    seed: int = 0,
    device: str = "auto",
) -> Iterator[str]:
    """Yields the continuation of a prompt by a run's newest whole checkpoint, in pieces of whole characters.

    Raises:
        StorageError: the run has no whole checkpoint, or one of another shape of model.
        DataError: as `load_model`.
        UsageError: there is no such device.
    """
    trained = load_model(run, device)
    yield from continue_text(trained, prompt, max_tokens=max_tokens, sampling=sampling or Sampling(), seed=seed)
