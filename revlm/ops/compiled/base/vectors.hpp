// Vectors of the machine's width, by the vector extensions common to GCC and Clang.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#define ALWAYS_INLINE inline __attribute__((always_inline))

#if defined(__AVX512F__)
#include <immintrin.h>
constexpr int vector_bytes = 64, vector_registers = 32;
#elif defined(__AVX__)
constexpr int vector_bytes = 32, vector_registers = 16;
#elif defined(__aarch64__)
constexpr int vector_bytes = 16, vector_registers = 32;
#else
constexpr int vector_bytes = 16, vector_registers = 16;
#endif

template <class Real>
struct Simd;

template <>
struct Simd<float> {
    using Integer = int32_t;
    using Unsigned = uint32_t;
    typedef float Vector __attribute__((vector_size(vector_bytes)));
    typedef int32_t Integers __attribute__((vector_size(vector_bytes)));
    typedef uint32_t Unsigneds __attribute__((vector_size(vector_bytes)));
};

template <>
struct Simd<double> {
    using Integer = int64_t;
    using Unsigned = uint64_t;
    typedef double Vector __attribute__((vector_size(vector_bytes)));
    typedef int64_t Integers __attribute__((vector_size(vector_bytes)));
    typedef uint64_t Unsigneds __attribute__((vector_size(vector_bytes)));
};

template <class Real>
using Vector = typename Simd<Real>::Vector;
template <class Real>
using Integers = typename Simd<Real>::Integers;
template <class Real>
using Unsigneds = typename Simd<Real>::Unsigneds;
template <class Real>
constexpr int lanes = vector_bytes / int(sizeof(Real));

template <class Any, class Element>
ALWAYS_INLINE Any load(const Element* from) {
    Any vector;
    std::memcpy(&vector, from, sizeof vector);
    return vector;
}

template <class Any, class Element>
ALWAYS_INLINE void store(Element* to, const Any& vector) {
    std::memcpy(to, &vector, sizeof vector);
}

template <class To, class From>
ALWAYS_INLINE To bits_as(const From& from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

// Some of the lanes of a vector: a bit for each, or all bits of each.
#if defined(__AVX512F__)
template <class Real>
using Mask = std::conditional_t<sizeof(Real) == sizeof(float), __mmask16, __mmask8>;

ALWAYS_INLINE __mmask16 is_less(const Unsigneds<float>& a, const Unsigneds<float>& b) {
    return _mm512_cmplt_epu32_mask(bits_as<__m512i>(a), bits_as<__m512i>(b));
}
ALWAYS_INLINE __mmask8 is_less(const Unsigneds<double>& a, const Unsigneds<double>& b) {
    return _mm512_cmplt_epu64_mask(bits_as<__m512i>(a), bits_as<__m512i>(b));
}
ALWAYS_INLINE Vector<float> chosen(__mmask16 mask, const Vector<float>& yes, const Vector<float>& no) {
    return bits_as<Vector<float>>(_mm512_mask_blend_ps(mask, bits_as<__m512>(no), bits_as<__m512>(yes)));
}
ALWAYS_INLINE Vector<double> chosen(__mmask8 mask, const Vector<double>& yes, const Vector<double>& no) {
    return bits_as<Vector<double>>(_mm512_mask_blend_pd(mask, bits_as<__m512d>(no), bits_as<__m512d>(yes)));
}
#else
template <class Real>
using Mask = Integers<Real>;

template <class Unsigneds>
ALWAYS_INLINE auto is_less(const Unsigneds& a, const Unsigneds& b) {
    return a < b;
}
template <class Mask, class Vector>
ALWAYS_INLINE Vector chosen(const Mask& mask, const Vector& yes, const Vector& no) {
    return mask ? yes : no;
}
#endif

// The constants of exp for a type: 2^k is the bits of k + bias shifted into the exponent; adding `round` leaves the
// nearest integer in the low bits; below `smallest` the result is zero, not a denormal; exp(r) = 1 + r + r^2 p(r) on
// |r| <= ln 2 / 2, with the minimax polynomial p (largest relative error: float 3e-9, double 8e-18).
template <class Real>
struct Exponential;

template <>
struct Exponential<float> {
    static constexpr int bias = 127, mantissa_bits = 23;
    static constexpr float round = 0x1.8p23f, smallest = -87.33654f;
    static constexpr float ln2_high = 0x1.62e4p-1f, ln2_low = 0x1.7f7d1cp-20f;
    static constexpr float polynomial[] = {0.499999934319409495f, 0.166665203986525682f, 0.0416683908161623054f,
                                           0.0083687451447488942f, 0.00138145387994958734f};
};

template <>
struct Exponential<double> {
    static constexpr int bias = 1023, mantissa_bits = 52;
    static constexpr double round = 0x1.8p52, smallest = -708.3964185322641;
    static constexpr double ln2_high = 0x1.62e42fefa38p-1, ln2_low = 0x1.ef35793c7673p-45;
    static constexpr double polynomial[] = {0.500000000000001027,    0.166666666666666746,    0.0416666666665215269,
                                            0.00833333333332217163,  0.00138888889479625428,  0.000198412698866999262,
                                            0.0000248014871658387093, 2.75572422135106909e-6, 2.76327161100978728e-7,
                                            2.51100963040334889e-8};
};

// exp of each lane up to about 88 (double: 709), to about 1 unit in the last place; exp(-inf) is 0, exp(nan) is nan.
template <class Real>
ALWAYS_INLINE Vector<Real> exponential(Vector<Real> x) {
    using E = Exponential<Real>;
    constexpr Real log2_e = Real(1.442695040888963407);
    const Vector<Real> shifted = x * log2_e + E::round;
    const Vector<Real> power = shifted - E::round;
    const Vector<Real> rest = (x - power * E::ln2_high) - power * E::ln2_low;
    constexpr int degree = sizeof(E::polynomial) / sizeof(Real) - 1;
    Vector<Real> sum = rest * E::polynomial[degree] + E::polynomial[degree - 1];
#pragma GCC unroll 16
    for (int i = degree - 2; i >= 0; --i) sum = sum * rest + E::polynomial[i];
    sum = (sum * rest) * rest + rest + Real(1);
    const Unsigneds<Real> exponent = bits_as<Unsigneds<Real>>(shifted) + E::bias;
    const Vector<Real> result = sum * bits_as<Vector<Real>>(exponent << E::mantissa_bits);
    return x < E::smallest ? Vector<Real>{} : result;
}

// a0 b0 a1 b1 ... of the lower (upper) halves of a and b.
template <class Real, bool upper, std::size_t... i>
ALWAYS_INLINE Vector<Real> interleaved(Vector<Real> a, Vector<Real> b, std::index_sequence<i...>) {
    constexpr int n = lanes<Real>, start = upper ? n / 2 : 0;
#if defined(__clang__)
    return __builtin_shufflevector(a, b, int(i % 2 * n + start + i / 2)...);
#else
    return __builtin_shuffle(a, b, Integers<Real>{int(i % 2 * n + start + i / 2)...});
#endif
}

// to[column][row] = from[row][column] for one square with as many rows as a vector has lanes.
template <class Real>
ALWAYS_INLINE void transpose_square(const Real* from, long from_stride, Real* to, long to_stride) {
    constexpr int n = lanes<Real>;
    constexpr auto indices = std::make_index_sequence<n>{};
    Vector<Real> rows[n], mixed[n];
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) rows[i] = load<Vector<Real>>(from + i * from_stride);
    // Interleaving row i with row i + n/2, log2(n) times, transposes the square.
#pragma GCC unroll 4
    for (int step = 1; step < n; step *= 2) {
#pragma GCC unroll 8
        for (int i = 0; i < n / 2; ++i) {
            mixed[2 * i] = interleaved<Real, false>(rows[i], rows[i + n / 2], indices);
            mixed[2 * i + 1] = interleaved<Real, true>(rows[i], rows[i + n / 2], indices);
        }
#pragma GCC unroll 16
        for (int i = 0; i < n; ++i) rows[i] = mixed[i];
    }
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) store(to + i * to_stride, rows[i]);
}
