// The arguments of attention from Python, and access to the elements of tensors.
#pragma once

#include <cstdint>
#include <cstring>

// `structures.py` documents these constants and counts memory with them.
constexpr long tile_rows = REVLM_TILE_ROWS, least_segment = REVLM_SEGMENT, field_bytes = REVLM_FIELD_BYTES,
               place_bytes = REVLM_PLACE_BYTES;

// A tensor [rows, tokens, head_dim] (or [rows, rounds, tokens]); strides count elements, the last dimension of the
// former is contiguous.
struct Tensor {
    void* data;
    int64_t row_stride, second_stride, third_stride;
};

// The fields are those of `Problem` in `structures.py`, in the same order.
struct Problem {
    int64_t rows, queries, tokens, rounds, head_dim, window, block, include_self, threads;  // an even block
    Tensor q, k, v, bucket;  // no q: the keys are also the queries
    void *scale, *sink;      // [rows], of the accumulation type; no sink: null
    Tensor out;
    void* log_sum_exp;  // [rows, queries], of the accumulation type
    Tensor d_out, d_q, d_k, d_v;  // no d_q: d_k is the gradient of the keys as both keys and queries
    void *d_scale, *d_sink;       // [rows], of the accumulation type
    const void* delta;            // <d_out, out> as [rows, queries], of the accumulation type; null: out is given

    bool queries_are_keys() const { return !q.data; }
};

struct BFloat16 {
    uint16_t bits;
};

inline float as_real(float x) { return x; }
inline double as_real(double x) { return x; }
inline float as_real(BFloat16 x) {
    const uint32_t bits = uint32_t(x.bits) << 16;
    float real;
    std::memcpy(&real, &bits, sizeof real);
    return real;
}

inline void assign(float& to, float x) { to = x; }
inline void assign(double& to, double x) { to = x; }
inline void assign(BFloat16& to, float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    // Rounds to nearest, ties to even; NaN stays NaN.
    const uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    to.bits = uint16_t(x != x ? 0x7FC0 : rounded);
}

// Rows of elements, in a tensor or in records.
template <class Element>
struct Rows {
    Element* first;
    int64_t stride_bytes;

    Element* operator[](int64_t i) const {
        return reinterpret_cast<Element*>(reinterpret_cast<uintptr_t>(first) + i * stride_bytes);
    }
    operator Rows<const Element>() const { return {first, stride_bytes}; }
};

// One row of a tensor: its tokens.
template <class Element>
Rows<Element> tokens_of(const Tensor& tensor, int64_t row) {
    return {static_cast<Element*>(tensor.data) + row * tensor.row_stride,
            tensor.second_stride * int64_t(sizeof(Element))};
}

template <class Real, class A, class B>
Real dot(const A* a, const B* b, long size) {
    constexpr int n = 16;
    Real sums[n] = {}, sum = 0;
    long d = 0;
    for (; d + n <= size; d += n)
        for (int i = 0; i < n; ++i) sums[i] += Real(as_real(a[d + i])) * Real(as_real(b[d + i]));
    for (; d < size; ++d) sum += Real(as_real(a[d])) * Real(as_real(b[d]));
    for (int i = 0; i < n; ++i) sum += sums[i];
    return sum;
}
