"""The values that a recipe leaves to be derived from shapes, derived once and stored with the run."""

import math

from revlm.recipe import Model as ModelRecipe

# Elements of the widest token-wise tensor of a tile. On the CPU 7 MiB in float32: within the last-level cache, and
# below the size at which allocations come from the system (`revlm.ops.heap`), since a fresh page costs more than
# computing on it. On CUDA enough work for each of the many kernels that a tile launches.
_TILE_ELEMENTS = {"cpu": 7 * 2**18, "cuda": 2**25}
# The first round of several has so many buckets, and a bucket of the last one so many of an example's tokens on average
# (docs/experiments.md, "Numbers of buckets").
_COARSEST, _TOKENS_OF_A_FINE_BUCKET = 16, 8
_SMALLEST_TILE, _LARGEST_TILE = 64, {"cpu": 8192, "cuda": 65536}

# Groups of heads that attention takes one after the other, from so many elements of a [tokens, d_model] tensor on.
# Tensors of all tokens exist for one group at a time, but each group normalizes, projects and increments the streams
# anew. On a CPU with d_model 256 two groups cost a step 2% of its time and save 12% of its memory (65,536 tokens), four
# cost 7% and save 20% (1,048,576 tokens). On CUDA, where memory traffic weighs more,
# groups are fewer and begin later.
_GROUPS = {"cpu": ((2**24, 2), (2**27, 4)), "cuda": ((2**28, 2),)}


def automatic_buckets(seq_len: int, window: int, rounds: int) -> tuple[int, ...]:
    """Returns the numbers of buckets of some rounds, powers of two from 4 to 65536.

    Those of several rounds are spread evenly in their logarithm, from 16 to an eighth of an example's tokens: the first
    rounds find similar tokens among the recent ones, the last ones reach far back. A bucket of a single round holds
    about a window of tokens.
    """
    if rounds == 1:
        exponents = [math.ceil(math.log2(seq_len / window))]
    else:
        coarsest = math.log2(_COARSEST)
        finest = max(coarsest, math.log2(seq_len / _TOKENS_OF_A_FINE_BUCKET))
        exponents = [round(coarsest + (finest - coarsest) * number / (rounds - 1)) for number in range(rounds)]
    return tuple(2 ** min(max(exponent, 2), 16) for exponent in exponents)


def resolve_model(recipe: ModelRecipe, seq_len: int) -> ModelRecipe:
    """Returns the recipe with `n_buckets: auto` replaced by the numbers of its rounds."""
    if recipe.n_buckets != "auto":
        return recipe
    return recipe.model_copy(update={"n_buckets": automatic_buckets(seq_len, recipe.window, recipe.n_rounds)})


def buckets_of_rounds(recipe: ModelRecipe) -> tuple[int, ...]:
    """Returns the number of buckets of each round, of a recipe whose `n_buckets` is resolved."""
    assert recipe.n_buckets != "auto", "n_buckets: auto is resolved before a model is built"
    return (recipe.n_buckets,) * recipe.n_rounds if isinstance(recipe.n_buckets, int) else recipe.n_buckets


def with_rounds(recipe: ModelRecipe, rounds: int, buckets: int) -> ModelRecipe:
    """Returns the recipe of a model with the first of a recipe's rounds, and further ones as fine as its finest.

    The further ones are of pairs where its last one is. `buckets` takes the place of the finest rounds' number of
    buckets.
    """
    own = buckets_of_rounds(recipe)
    with_further = (*own, *[max(own)] * rounds)[:rounds]
    n_buckets = tuple(buckets if number == max(own) else number for number in with_further)
    pair_rounds = max(0, rounds - (recipe.n_rounds - recipe.pair_rounds)) if recipe.pair_rounds else 0
    return recipe.model_copy(update={"n_rounds": rounds, "n_buckets": n_buckets, "pair_rounds": pair_rounds})


def tile_tokens(recipe: ModelRecipe, tile: int | str, device_kind: str) -> int:
    """Returns how many tokens token-wise layers process at a time on "cpu" or "cuda"; `tile` may be "auto"."""
    if isinstance(tile, int):
        return tile
    tokens = _TILE_ELEMENTS[device_kind] // max(recipe.d_ff, 3 * recipe.d_model)
    return min(max(tokens // 64 * 64, _SMALLEST_TILE), _LARGEST_TILE[device_kind])


def heads_at_a_time(n_heads: int, head_dim: int, tokens: int, ranks: int, device_kind: str) -> int:
    """Returns how many heads attention takes at a time on "cpu" or "cuda", in an example of so many tokens.

    They divide `n_heads`, and are a multiple of the `ranks` that share the example.
    """
    elements = n_heads * head_dim * tokens
    groups = max((count for least, count in _GROUPS[device_kind] if elements >= least), default=1)
    equal = (heads for heads in range(1, n_heads + 1) if n_heads % heads == 0 and heads % ranks == 0)
    return min((heads for heads in equal if heads * groups >= n_heads), default=n_heads)
