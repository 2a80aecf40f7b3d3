"""The values that a recipe leaves to be derived from shapes, derived once and stored with the run."""

import math

from revlm.recipe import Model as ModelRecipe

# Elements of the widest token-wise tensor of a tile. On the CPU 7 MiB in float32: within the last-level cache, and
# below the size at which allocations come from the system (`revlm.ops.heap`), since a fresh page costs more than
# computing on it. On CUDA enough work for each of the many kernels that a tile launches.
_TILE_ELEMENTS = {"cpu": 7 * 2**18, "cuda": 2**25}
# Tokens that the windows of the coarsest automatic buckets reach back (docs/experiments.md). More buckets than the most
# take memory in decoding and find little more.
_REACH_OF_COARSEST = 1024
_FEWEST_BUCKETS, _MOST_BUCKETS = 4, 16384
_SMALLEST_TILE, _LARGEST_TILE = 64, {"cpu": 8192, "cuda": 65536}


def automatic_buckets(seq_len: int, window: int, n_rounds: int) -> tuple[int, ...]:
    """Returns the number of buckets of each round: from coarse to fine, powers of two.

    A window holds the latest members of a bucket: in coarse buckets they are recent, and a query finds similar recent
    tokens with more certainty; in fine ones they come from the whole document. The coarsest round's windows reach back
    about 1,024 tokens; the finest has a bucket for each token of an example; between them the ratios grow steadily.
    """
    fewest, most = (math.log2(number) for number in (_FEWEST_BUCKETS, _MOST_BUCKETS))
    coarsest = min(max(math.log2(min(seq_len, _REACH_OF_COARSEST) / window), fewest), most)
    finest = min(max(math.log2(seq_len), coarsest), most)
    shares = [round_ / (n_rounds - 1) for round_ in range(n_rounds)] if n_rounds > 1 else [0.5]
    return tuple(2 ** round(coarsest + (finest - coarsest) * share * (1 + share) / 2) for share in shares)


def resolve_model(recipe: ModelRecipe, seq_len: int) -> ModelRecipe:
    """Returns the recipe with `n_buckets: auto` replaced by its numbers."""
    if recipe.n_buckets != "auto":
        return recipe
    return recipe.model_copy(update={"n_buckets": automatic_buckets(seq_len, recipe.window, recipe.n_rounds)})


def buckets_of_rounds(recipe: ModelRecipe) -> tuple[int, ...]:
    """Returns the number of buckets of each round, of a recipe whose `n_buckets` is resolved."""
    assert recipe.n_buckets != "auto", "n_buckets: auto is resolved before a model is built"
    return (recipe.n_buckets,) * recipe.n_rounds if isinstance(recipe.n_buckets, int) else recipe.n_buckets


def tile_tokens(recipe: ModelRecipe, tile: int | str, device_kind: str) -> int:
    """Returns how many tokens token-wise layers process at a time on "cpu" or "cuda"; `tile` may be "auto"."""
    if isinstance(tile, int):
        return tile
    tokens = _TILE_ELEMENTS[device_kind] // max(recipe.d_ff, 3 * recipe.d_model)
    return min(max(tokens // 64 * 64, _SMALLEST_TILE), _LARGEST_TILE[device_kind])
