"""How closely cached decoding agrees with the model's forward pass on the same tokens.

Another order of operations rounds differently, and a last bit can move a token to another bucket. The share of hashes
that differ and the change in loss measure the effect.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from revlm.generation.decoding import Decoder
from revlm.model import Context, RevLM
from revlm.model.kinds.lsh import HashAttention


@dataclass(frozen=True)
class Agreement:
    """Tokens decoded one at a time, compared with one forward pass over the same tokens.

    Losses are in nats per token. `other_hash_share` is the share of hashes, one for each layer, head, round and token,
    that differ; 0 without hash layers. `largest_logit_difference` includes the logits of tokens whose hashes differ.
    """

    tokens: int
    forward_loss: float
    decoding_loss: float
    other_hash_share: float
    largest_logit_difference: float

    @property
    def loss_change(self) -> float:
        """The loss of decoding minus that of the forward pass."""
        return self.decoding_loss - self.forward_loss


@torch.no_grad()
def compare_with_forward(
    model: RevLM, tokens: Int[Tensor, "tokens"], *, prompt: int, precision: str = "fp32", block: int = 16_384
) -> Agreement:
    """Returns the agreement over all tokens after the first `prompt` ones, which are prefilled in blocks.

    All logits of the forward pass are in memory at once: use a few thousand tokens.
    """
    of_forward: dict[int, Tensor] = {}
    half = precision == "bf16"
    with _recording_buckets(model, of_forward), torch.autocast(tokens.device.type, torch.bfloat16, enabled=half):
        hidden = model(tokens)
    forward_logits = model.logits(hidden[prompt:])
    decoder = Decoder(model, precision=precision, block=block)
    if prompt:
        decoder.extend(tokens[:prompt])
    logits, other, hashes = [], 0, 0
    for position in range(prompt, len(tokens)):
        logits.append(decoder.step(tokens[position : position + 1])[0])
        for layer, bucket in decoder.latest_buckets().items():
            other += int((bucket[:, 0] != of_forward[layer][:, :, position]).sum())
            hashes += bucket[:, 0].numel()
    decoding_logits = torch.stack(logits)
    targets = tokens[prompt + 1 :].long()
    return Agreement(
        tokens=len(logits),
        forward_loss=_loss(forward_logits, targets),
        decoding_loss=_loss(decoding_logits, targets),
        other_hash_share=other / max(hashes, 1),
        largest_logit_difference=float((decoding_logits - forward_logits).abs().max()),
    )


def _loss(logits: Float[Tensor, "tokens vocabulary"], targets: Int[Tensor, "targets"]) -> float:
    return float(cross_entropy(logits[: len(targets)].double(), targets))


@contextmanager
def _recording_buckets(model: RevLM, buckets: dict[int, Tensor]) -> Iterator[None]:
    """Records the buckets of each hash layer in a forward pass, by the layer's number."""

    def record(mix: nn.Module, read: tuple[Tensor, Tensor], options: dict[str, Context]) -> None:
        assert isinstance(mix, HashAttention)
        context = options["context"]
        buckets[mix.layer] = mix.buckets(mix.keys(read[0], context), context)

    hashed = [module for module in model.modules() if isinstance(module, HashAttention)]
    hooks = [mix.register_forward_pre_hook(record, with_kwargs=True) for mix in hashed]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
