"""The Multiscale Byte Language Model of the package `mblm`: a transformer over patches, and one over a patch's tokens.

Both have the width of the other models. Each token passes through half of the layers in the transformer over its
patch, and each patch of `window` tokens, whose attention is exact, through the other half. Its training recomputes the
tokens' layers, in chunks of patches.
"""

from mblm import MBLM, MBLMModelConfig, MBLMReturnType, TransformerBlock
from torch import Tensor, nn

from bench.shape import Shape
from bench.systems import Loss

# Tokens whose layers are recomputed together.
_CHUNK = 16384


def build(shape: Shape) -> tuple[nn.Module, Loss]:
    """Returns the model and its loss; vocabulary and layers are at least those of the shape."""
    block = TransformerBlock(
        attn_head_dims=shape.head_dim,
        attn_num_heads=shape.heads,
        attn_use_rot_embs=True,
        ff_multiplier=shape.d_ff // shape.d_model,
        use_flash_attn=True,
        pos_emb_type=None,
    )
    model = MBLM(
        MBLMModelConfig(
            num_tokens=shape.vocabulary + 1,
            pad_token_id=shape.vocabulary,
            hidden_dims=[shape.d_model] * 2,
            num_layers=[shape.layers - shape.layers // 2, max(1, shape.layers // 2)],
            seq_lens=[shape.tokens // shape.window, shape.window],
            train_checkpoint_chunks=[max(1, shape.tokens // _CHUNK)],
            block=block,
        )
    ).train()

    def loss(inputs: Tensor, targets: Tensor) -> Tensor:
        # The library predicts each token that it is given, from those before.
        result: Tensor = model.forward(targets[None], return_type=MBLMReturnType.LOSS)
        return result

    return model, loss
