"""Matrix products inside kernels."""

from typing import no_type_check

import triton
import triton.language as tl

# The interpreter treats bfloat16 as integers in a product.
_INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)


@triton.jit
@no_type_check
def product(a, b, SUMS: tl.constexpr):
    """Returns the matrix product in the dtype of sums, for float32 factors in nearly float32 precision (3xTF32)."""
    if _INTERPRETED:
        a, b = a.to(SUMS), b.to(SUMS)
    return tl.dot(a, b, input_precision="tf32x3", out_dtype=SUMS)
