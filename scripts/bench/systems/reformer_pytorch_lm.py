"""The language model of `reformer-pytorch` with its defaults (rotary positions, feed-forward in 100 chunks).

`attn_chunks` stays 1: with more chunks the library keeps only the last chunk's buckets for the backward pass, and would
rebuild activations with other buckets than in the forward pass.
"""

from reformer_pytorch import ReformerLM
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bench.shape import Shape
from bench.systems import Loss


def build(shape: Shape) -> tuple[nn.Module, Loss]:
    """Returns the model and its loss."""
    model = ReformerLM(
        num_tokens=shape.vocabulary,
        dim=shape.d_model,
        depth=shape.layers,
        max_seq_len=shape.tokens,
        heads=shape.heads,
        dim_head=shape.head_dim,
        bucket_size=shape.window,
        n_hashes=shape.rounds,
        ff_mult=shape.d_ff // shape.d_model,
        causal=True,
    ).train()

    def loss(inputs: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(model(inputs[None])[0], targets)

    return model, loss
