"""The values that a recipe leaves to be derived from shapes, derived once and stored with the run."""

from revlm.recipe import Model as ModelRecipe

# Elements of the widest token-wise tensor of a tile. On the CPU 7 MiB in float32: within the last-level cache, and
# below the size at which allocations come from the system (`revlm.ops.heap`), since a fresh page costs more than
# computing on it. On CUDA enough work for each of the many kernels that a tile launches.
_TILE_ELEMENTS = {"cpu": 7 * 2**18, "cuda": 2**25}
_SMALLEST_TILE, _LARGEST_TILE = 64, {"cpu": 8192, "cuda": 65536}

# Elements of a tensor of all tokens, such as the keys, of the heads that attention takes at a time, and the most groups
# of heads. Attention of one group holds about five such tensors besides its work space, which is that of one head. Each
# group normalizes, projects and increments the streams anew: two groups cost a step of d_model 256 about 2%, four about
# 6%, half of it at twice the width. On CUDA, where memory traffic weighs more, fewer and only for very long examples.
_GROUP_ELEMENTS = {"cpu": 2**23, "cuda": 2**27}
_MOST_GROUPS = {"cpu": 4, "cuda": 2}


def automatic_buckets(seq_len: int, window: int) -> int:
    """Returns the power of two, 4 to 65536, at which a bucket holds about a window of an example's tokens."""
    n_buckets = 4
    while n_buckets * window < seq_len and n_buckets < 65536:
        n_buckets *= 2
    return n_buckets


def resolve_model(recipe: ModelRecipe, seq_len: int) -> ModelRecipe:
    """Returns the recipe with `n_buckets: auto` replaced by its number."""
    if recipe.n_buckets != "auto":
        return recipe
    return recipe.model_copy(update={"n_buckets": automatic_buckets(seq_len, recipe.window)})


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


def heads_at_a_time(n_heads: int, head_dim: int, tokens: int, ranks: int, device_kind: str) -> int:
    """Returns how many heads attention takes at a time on "cpu" or "cuda", the most whose tensors are small enough.

    They divide `n_heads`, and are a multiple of the `ranks` that share an example of so many tokens.
    """
    fewest = n_heads / _MOST_GROUPS[device_kind]
    equal = [heads for heads in range(1, n_heads + 1) if n_heads % heads == 0 and heads % ranks == 0]
    possible = [heads for heads in equal if heads >= fewest] or [n_heads]
    small = [heads for heads in possible if heads * head_dim * tokens <= _GROUP_ELEMENTS[device_kind]]
    return max(small, default=min(possible))
