// The packed keys and values of a range of the sorted order, which slides along with the blocks of queries.
#pragma once

#include "memory.hpp"
#include "order.hpp"
#include "tiles.hpp"

template <class Real, class Input>
void unpack(Real* to, const Input* from, long size) {
    for (long d = 0; d < size; ++d) to[d] = as_real(from[d]);
}

// The row and round that a pass is processing.
template <class Input>
struct Scene {
    const Problem& problem;
    const Order& order;
    Rows<const Input> k, v, q;
    int64_t row, round;

    const int32_t* token() const { return order.token.data() + round * problem.tokens; }
    const Place* places(int64_t position) const { return order.place.data() + position * problem.rounds; }
    // The first place of the window of the position at place `at`.
    int64_t lowest(int64_t at) const { return places(token()[at])[round].lowest; }
    // The index among the queries, which are the last positions; negative where the position is not a query.
    int64_t query(int64_t position) const { return position - (problem.tokens - problem.queries); }
};

template <class Input, class Real>
class Keys {
   public:
    // Vectors are zero-padded to `stride`, and rows after the last key to a whole tile of keys.
    const long stride, capacity;
    Buffer<Real> k, v, d_k, d_v;
    // The place of each key in this and each earlier round: [round][row].
    Buffer<typename Simd<Real>::Integer> at;
    // Rows from 0 on hold the keys at first <= place < last of this round's order.
    long first = 0, last = 0;

    Keys(const Problem& problem, bool with_gradients)
        : stride(rounded_up(problem.head_dim, lanes<Real>)),
          capacity(rounded_up(problem.window + problem.block, key_rows)),
          k(capacity * stride),
          v(capacity * stride),
          d_k(with_gradients ? capacity * stride : 0),
          d_v(with_gradients ? capacity * stride : 0),
          at(problem.rounds * capacity),
          with_gradients_(with_gradients) {}

    long size() const { return last - first; }

    // Discards all keys.
    void clear() { first = last = 0; }

    // Advances to the places new_first <= place < new_last; neither bound may decrease.
    void advance(const Scene<Input>& scene, long new_first, long new_last) {
        const long kept = std::max(last - new_first, 0L), rounds = scene.round + 1;
        if (new_first > first && kept > 0) {
            const long skipped = new_first - first;
            for (Real* rows : {&k[0], &v[0]}) move(rows, skipped, kept);
            if (with_gradients_)
                for (Real* rows : {&d_k[0], &d_v[0]}) move(rows, skipped, kept);
            for (long round = 0; round < rounds; ++round)
                std::copy_n(&at[round * capacity + skipped], kept, &at[round * capacity]);
        }
        first = new_first, last = new_last;
        const Problem& problem = scene.problem;
        for (long row = kept; row < size(); ++row) {
            const int64_t position = scene.token()[first + row];
            unpack(&k[row * stride], scene.k[position], problem.head_dim);
            unpack(&v[row * stride], scene.v[position], problem.head_dim);
            const Place* const places = scene.places(position);
            for (long round = 0; round < rounds; ++round) at[round * capacity + row] = places[round].at;
        }
        const long end = rounded_up(size(), key_rows);
        for (Real* rows : {&k[0], &v[0]}) std::fill(rows + size() * stride, rows + end * stride, Real(0));
        if (with_gradients_)
            for (Real* rows : {&d_k[0], &d_v[0]}) std::fill(rows + kept * stride, rows + end * stride, Real(0));
        for (long row = size(); row < end; ++row)
            for (long round = 0; round < rounds; ++round) at[round * capacity + row] = -1;
    }

   private:
    void move(Real* rows, long skipped, long kept) {
        std::copy_n(rows + skipped * stride, kept * stride, rows);
    }

    const bool with_gradients_;
};
