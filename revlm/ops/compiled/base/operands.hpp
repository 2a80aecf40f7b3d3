// What matrix products multiply: numbers of the accumulation type, or pairs of bfloat16 where the CPU has dot products
// of pairs, which are twice as fast.
#pragma once

#include "problem.hpp"
#include "vectors.hpp"

// Two bfloat16 that are adjacent along the dimension that a product sums over, the earlier one in the low bits.
struct Pair {
    uint32_t bits;
};

// `Element` is what a product multiplies at one step, `numbers` how many numbers of each row that is.
template <class Input, class Real>
struct Operands {
    using Element = Real;
    static constexpr int numbers = 1;
};

template <class Element>
struct OperandVector {
    using Type = Vector<Element>;
};
template <>
struct OperandVector<Pair> {
    using Type = Unsigneds<float>;
};

template <class Real>
ALWAYS_INLINE void accumulate(Vector<Real>& sum, Real a, const Vector<Real>& b) {
    sum += a * b;
}

// Rows of operands along the summed dimension.
template <class Input, class Real>
void pack_row(Real* to, const Input* from, long size, Real factor = 1) {
    for (long d = 0; d < size; ++d) to[d] = as_real(from[d]) * factor;
}

#if defined(__AVX512BF16__)
template <>
struct Operands<BFloat16, float> {
    using Element = Pair;
    static constexpr int numbers = 2;
};

ALWAYS_INLINE void accumulate(Vector<float>& sum, Pair a, const Unsigneds<float>& b) {
    const Unsigneds<float> of_a = Unsigneds<float>{} + a.bits;
    sum = bits_as<Vector<float>>(
        _mm512_dpbf16_ps(bits_as<__m512>(sum), bits_as<__m512bh>(b), bits_as<__m512bh>(of_a)));
}

// The elements after `size` must be zero already.
inline void pack_row(Pair* to, const BFloat16* from, long size) { std::memcpy(to, from, size * sizeof(BFloat16)); }

// to[d] = the pair of even[d] and odd[d], for a multiple of 16 numbers.
inline void pair_rows(const Pair* even, const Pair* odd, long size, Pair* to) {
    for (long d = 0; d < size; d += 16) {
        const __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(even + d / 2)));
        const __m512i high = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(odd + d / 2)));
        _mm512_storeu_si512(to + d, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
}

// Two vectors rounded to bfloat16: all of `first`, then all of `second`.
ALWAYS_INLINE __m512i rounded(const Vector<float>& first, const Vector<float>& second) {
    return bits_as<__m512i>(_mm512_cvtne2ps_pbh(bits_as<__m512>(second), bits_as<__m512>(first)));
}

// Stores the two parts of what `rounded` returned `stride` apart.
ALWAYS_INLINE void store_halves(__m512i both, Pair* to, long stride) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_castsi512_si256(both));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + stride), _mm512_extracti64x4_epi64(both, 1));
}

// The pairs of the lanes of two vectors that `rounded` returned.
ALWAYS_INLINE __m512i lanes_paired(__m512i both) {
    constexpr auto index = [](int i) { return i % 2 * 16 + i / 2; };
    alignas(64) static constexpr uint16_t order[32] = {
        index(0),  index(1),  index(2),  index(3),  index(4),  index(5),  index(6),  index(7),
        index(8),  index(9),  index(10), index(11), index(12), index(13), index(14), index(15),
        index(16), index(17), index(18), index(19), index(20), index(21), index(22), index(23),
        index(24), index(25), index(26), index(27), index(28), index(29), index(30), index(31)};
    return _mm512_permutexvar_epi16(_mm512_load_si512(order), both);
}

ALWAYS_INLINE void transpose_square(const Pair* from, long from_stride, Pair* to, long to_stride) {
    transpose_square(reinterpret_cast<const float*>(from), from_stride, reinterpret_cast<float*>(to), to_stride);
}
#endif
