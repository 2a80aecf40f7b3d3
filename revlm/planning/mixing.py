"""What attention over whole sequences holds: what it reads, what it makes, its gradients and its work space."""

from typing import NamedTuple

from revlm.ops.attention import workspace_bytes
from revlm.planning.sizes import FULL_BYTES, Sizes
from revlm.recipe import LayerKind

_HASH_TILE = 4096  # tokens that revlm.ops.hashing works on at one time by PyTorch's own operations


class Mixing(NamedTuple):
    """Bytes of one attention sublayer, over all tokens.

    `read` is what the tiles hand over, `mixed` what attention makes of it, `saved` what it saves besides for its
    gradients. `made` are the gradients that the operation makes, `gradients` those of what was read, of which the last
    is `summed` from several where one tensor is read twice; the `overwritten` part of what was read holds gradients in
    the end. The work spaces are beside all that.
    """

    read: int
    mixed: int
    saved: int
    made: int
    summed: int
    gradients: int
    overwritten: int
    forward_workspace: int
    backward_workspace: int


def mixing(sizes: Sizes, kind: LayerKind) -> Mixing:
    """The bytes of one attention sublayer of a kind."""
    whole = sizes.product_hidden_bytes
    log_sum_exp = FULL_BYTES * sizes.n_heads * sizes.tokens
    if kind == "full":
        # Queries times the temperature, in full precision and in that of the products; the kernel itself needs little.
        scaled = whole + (sizes.hidden_bytes if sizes.product_bytes < FULL_BYTES else 0)
        return Mixing(3 * whole, whole, whole + log_sum_exp, 3 * whole + scaled, 0, 3 * whole, 0, scaled - whole, whole)
    hashed = kind == "lsh"
    forward, backward = (
        workspace_bytes(
            rows=sizes.n_heads,
            tokens=sizes.tokens,
            head_dim=sizes.head_dim,
            rounds=sizes.n_rounds if hashed else 1,
            window=sizes.window,
            block=sizes.block,
            element_bytes=sizes.product_bytes,
            backward=backward,
            device_kind=sizes.device_kind,
            queries_are_keys=hashed,
        )
        for backward in (False, True)
    )
    # Gradients are written over q, k and v; not by the compiled attention in full precision and in a single round.
    rounds = sizes.n_rounds if hashed else 1
    over = sizes.in_triton or (sizes.compiled and (rounds > 1 or sizes.product_bytes < FULL_BYTES))
    if not hashed:
        new, overwritten = (0, 3 * whole) if over else (3 * whole, 0)
        return Mixing(3 * whole, whole, log_sum_exp, new, 0, new, overwritten, forward, backward)
    saved = log_sum_exp + 4 * sizes.n_heads * sizes.n_rounds * sizes.tokens  # the buckets
    if over:
        return Mixing(2 * whole, whole, saved, 0, 0, 0, 2 * whole, forward, backward)
    if sizes.compiled:
        return Mixing(2 * whole, whole, saved, 2 * whole, 0, 2 * whole, 0, forward, backward)
    # Queries are keys: the op gives a gradient for each of the two.
    hashing = min(sizes.tokens, _HASH_TILE) * (
        FULL_BYTES * sizes.d_model + sizes.n_heads * sizes.n_rounds * (FULL_BYTES * sizes.directions + 60)
    )
    return Mixing(2 * whole, whole, saved, 3 * whole, whole, 2 * whole, 0, max(forward, hashing), backward)
