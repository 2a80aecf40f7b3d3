"""revlm as in training: with hashes drawn for the step, and a check of the streams' range."""

from torch import Tensor

from bench.shape import Shape
from bench.systems import Loss
from revlm.model import RevLM, automatic_buckets, tile_tokens
from revlm.ops.heap import keep_large_blocks_apart
from revlm.recipe import Model as ModelRecipe


def recipe_of(shape: Shape, *, reversible: bool = True) -> ModelRecipe:
    """Returns the recipe of an all-LSH model of this shape."""
    return ModelRecipe(
        d_model=shape.d_model,
        n_layers=shape.layers,
        n_heads=shape.heads,
        d_ff=shape.d_ff,
        layers=("lsh",),
        window=shape.window,
        n_rounds=shape.rounds,
        n_buckets=automatic_buckets(shape.tokens, shape.window, shape.rounds),
        reversible=reversible,
    )


def build(shape: Shape, *, reversible: bool, device_kind: str = "cpu") -> tuple[RevLM, Loss]:
    """Returns the model and its loss; the heap is configured as in `revlm train`."""
    keep_large_blocks_apart()
    recipe = recipe_of(shape, reversible=reversible)
    tile = tile_tokens(recipe, "auto", device_kind)
    model = RevLM(recipe, vocab_size=shape.vocabulary, seed=0, tile=tile)

    def loss(inputs: Tensor, targets: Tensor) -> Tensor:
        # The warm-up of other lengths is one document.
        document_ids = shape.document_ids(inputs.device) if len(inputs) == shape.tokens else None
        nats = model.loss(model(inputs, document_ids, step=0), targets)
        assert model.fixed is not None
        model.fixed.check_range()
        return nats / targets.shape[0]

    return model, loss
