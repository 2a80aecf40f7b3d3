"""The all-LSH Reformer of `transformers`; its reversible layers require training mode to train.

Its own design stays: axial positions of the example's size, the number of buckets derived from the length, biases, an
untied head on both streams. Dropout is off, and in training so is the cache.
"""

from torch import Tensor, nn
from transformers import ReformerConfig
from transformers.models.reformer.modeling_reformer import ReformerModelWithLMHead
from transformers.utils import logging

from bench.shape import Shape
from bench.systems import Loss


def build(shape: Shape) -> tuple[nn.Module, Loss]:
    """Returns the model and its loss."""
    model = model_of(shape, use_cache=False).train()

    def loss(inputs: Tensor, targets: Tensor) -> Tensor:
        # The library shifts the labels itself, and has no target for the last token.
        return model(input_ids=inputs[None], labels=inputs[None]).loss

    return model, loss


def model_of(shape: Shape, *, use_cache: bool) -> nn.Module:
    """Returns the model, with positions for the shape's tokens, a power of two."""
    logging.set_verbosity_error()
    config = ReformerConfig(
        attn_layers=["lsh"] * shape.layers,
        hidden_size=shape.d_model,
        num_attention_heads=shape.heads,
        attention_head_size=shape.head_dim,
        feed_forward_size=shape.d_ff,
        vocab_size=shape.vocabulary,
        num_hashes=shape.rounds,
        lsh_attn_chunk_length=shape.window,
        num_buckets=None,
        axial_pos_shape=_near_square(shape.tokens),
        axial_pos_embds_dim=(shape.d_model // 4, shape.d_model - shape.d_model // 4),
        max_position_embeddings=shape.tokens,
        is_decoder=True,
        use_cache=use_cache,
        hidden_dropout_prob=0.0,
        lsh_attention_probs_dropout_prob=0.0,
    )
    return ReformerModelWithLMHead(config)


def _near_square(tokens: int) -> tuple[int, int]:
    """Returns two factors of a power of two, as equal as possible; in training their product must be the length."""
    half = (tokens.bit_length() - 1) // 2
    return 1 << half, tokens >> half
