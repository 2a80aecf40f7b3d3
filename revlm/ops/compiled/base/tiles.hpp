// Small matrix products whose sums stay in registers.
#pragma once

#include "operands.hpp"
#include "prefetcher.hpp"
#include "problem.hpp"
#include "vectors.hpp"

// The layout of `a`: the steps of each row contiguous, or the rows of each step.
enum class Along { steps, rows };
enum class Into { replace, add };

// c[row][:] = (or +=) sum over the steps of a(row, step) * b[step][:], for `rows` rows and `columns` vectors of columns.
// Additions are in the order of the steps for any tile, so results do not depend on the tiling.
template <class Real, class Operand, int rows, int columns, Along along, Into into>
ALWAYS_INLINE void multiply_tile(const Operand* a, long a_stride, const Operand* b, long b_stride, long steps, Real* c,
                                 long c_stride, Prefetcher& prefetcher) {
    using Packed = typename OperandVector<Operand>::Type;
    constexpr int n = lanes<Real>;
    Vector<Real> sum[rows][columns];
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < columns; ++j)
            sum[i][j] = into == Into::add ? load<Vector<Real>>(c + i * c_stride + j * n) : Vector<Real>{};
    for (long step = 0; step < steps; ++step) {
        if (step % 4 == 0) prefetcher.step();
        Packed of_b[columns];
#pragma GCC unroll 8
        for (int j = 0; j < columns; ++j) of_b[j] = load<Packed>(b + j * n);
#pragma GCC unroll 8
        for (int i = 0; i < rows; ++i) {
            const Operand of_a = along == Along::steps ? a[i * a_stride] : a[i];
#pragma GCC unroll 8
            for (int j = 0; j < columns; ++j) accumulate(sum[i][j], of_a, of_b[j]);
        }
        a += along == Along::steps ? 1 : a_stride;
        b += b_stride;
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < columns; ++j) store(c + i * c_stride + j * n, sum[i][j]);
}

// `multiply_tile` for any number of vectors of columns, `widest` at a time.
template <class Real, class Operand, int rows, int widest, Along along, Into into>
void multiply(const Operand* a, long a_stride, const Operand* b, long b_stride, long steps, Real* c, long c_stride,
              long columns, Prefetcher& prefetcher) {
    constexpr int n = lanes<Real>;
    for (; columns >= widest; columns -= widest, b += widest * n, c += widest * n)
        multiply_tile<Real, Operand, rows, widest, along, into>(a, a_stride, b, b_stride, steps, c, c_stride,
                                                                prefetcher);
    if constexpr (widest > 1)
        if (columns > 0)
            multiply<Real, Operand, rows, widest - 1, along, into>(a, a_stride, b, b_stride, steps, c, c_stride,
                                                                   columns, prefetcher);
}

// Tiles that fill the registers: keys x vectors of queries for logits, rows x vectors of the head for the rest.
// `key_rows` is a multiple of `head_rows`, and a divisor of `tile_rows`.
constexpr int key_rows = vector_registers == 32 ? 8 : 4, key_columns = vector_registers == 32 ? 3 : 2;
constexpr int head_rows = 4, head_columns = vector_registers == 32 ? 4 : 2;
static_assert(tile_rows % key_rows == 0);
