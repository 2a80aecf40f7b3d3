// A block of queries and the band of packed keys that they see.
#pragma once

#include <cmath>
#include <limits>

#include "prefetcher.hpp"
#include "keys.hpp"

template <class Input, class Real>
class Block {
    static constexpr int n = lanes<Real>;
    using Integer = typename Simd<Real>::Integer;

   public:
    // The queries of a block and the elements of a head, padded to whole vectors.
    const long stride, head_stride;
    Keys<Input, Real> keys;
    Prefetcher prefetcher;
    // The queries at the places start <= place < stop.
    long start = 0, stop = 0;

    Block(const Problem& problem, bool with_gradients)
        : stride(rounded_up(problem.block, std::max(n, head_rows))),
          head_stride(rounded_up(problem.head_dim, n)),
          keys(problem, with_gradients),
          include_self_(problem.include_self),
          lowest_(problem.rounds * stride),
          width_(problem.rounds * stride),
          lowest_row_(stride),
          begin_(stride / n),
          end_(stride / n) {}

    // Buffers for pairs, [key][query], and for queries, [query][head element] or transposed.
    Buffer<Real> pairs() const { return Buffer<Real>(keys.capacity * stride); }
    Buffer<Real> queries() const { return Buffer<Real>(stride * head_stride); }

    long vectors() const { return stride / n; }
    long size() const { return stop - start; }
    // The rows of keys, in whole tiles, that a query of this vector of queries, or of its tile, may see.
    long begin(long vector) const { return begin_[vector]; }
    long end(long vector) const { return end_[vector]; }

    // Advances to the queries at new_start <= place < new_stop; returns whether any of these positions is a query.
    bool advance(const Scene<Input>& scene, long new_start, long new_stop) {
        start = new_start, stop = new_stop, round_ = scene.round;
        bool any = false;
        for (long i = 0; i < stride; ++i) {
            const int64_t position = i < size() ? scene.token()[start + i] : -1;
            const bool is_query = position >= 0 && scene.query(position) >= 0;
            any |= is_query;
            for (long round = 0; round <= scene.round; ++round) {
                const Place place = is_query ? scene.places(position)[round] : Place{0, 0};
                lowest_[round * stride + i] = place.lowest;
                width_[round * stride + i] = is_query ? place.at + include_self_ - place.lowest : 0;
            }
        }
        return any;
    }

    // Packs the keys of the block and finds the tiles of its band.
    void load_keys(const Scene<Input>& scene) {
        keys.advance(scene, scene.lowest(start), stop - 1 + include_self_);
        for (long i = 0; i < stride; ++i)
            lowest_row_[i] = i < size() ? scene.lowest(start + i) - keys.first : keys.size();
        const long rows = rounded_up(keys.size(), key_rows);
        for (long vector = 0; vector < vectors(); ++vector) {
            // Vectors narrower than a tile of queries share the band of their tile.
            const long first = vector * n / head_rows * head_rows;
            const bool empty = first >= size();
            begin_[vector] = empty ? rows : lowest_row_[first] / key_rows * key_rows;
            end_[vector] = empty ? rows : rounded_up(keys_before(first + std::max(n, head_rows)), key_rows);
        }
    }

    // Starts prefetching for the next block; touch(position, query) adds the rows of its positions.
    template <class Touch>
    void prefetch_next(const Scene<Input>& scene, long segment_stop, const Touch& touch) {
        const long block = scene.problem.block;
        prefetcher.clear();
        for (long place = stop; place < std::min(stop + block, segment_stop); ++place) {
            const int64_t position = scene.token()[place];
            if (place + block < segment_stop)
                prefetcher.add(scene.places(scene.token()[place + block]), scene.round + 1);
            touch(position, scene.query(position));
        }
        prefetcher.spread();
    }

    // Packs queries (rows of `from`) times a factor, and their transpose.
    void load_queries(const Scene<Input>& scene, Rows<const Input> from, Real factor, Buffer<Real>& rows,
                      Buffer<Real>& transposed) const {
        const long head_dim = scene.problem.head_dim;
        for (long i = 0; i < stride; ++i) {
            Real* const to = &rows[i * head_stride];
            const int64_t query = i < size() ? scene.query(scene.token()[start + i]) : -1;
            if (query < 0) {
                std::fill_n(to, head_dim, Real(0));
                continue;
            }
            const Input* const of_query = from[query];
            for (long d = 0; d < head_dim; ++d) to[d] = as_real(of_query[d]) * factor;
        }
        for (long i = 0; i < stride; i += n)
            for (long d = 0; d < head_stride; d += n)
                transpose_square<Real>(&rows[i * head_stride + d], head_stride, &transposed[d * stride + i], stride);
    }

    // pairs[key][query] = <of_keys[key], of_queries[query]> over all tiles of the band.
    void products(const Real* of_keys, const Real* queries_transposed, Real* pairs) {
        long first = 0, last = 0;
        for (long row = 0; row < keys.size(); row += key_rows) {
            while (first < vectors() && end_[first] <= row) ++first;
            while (last < vectors() && begin_[last] <= row) ++last;
            multiply<Real, key_rows, key_columns, Along::steps, Into::replace>(
                of_keys + row * head_stride, head_stride, queries_transposed + first * n, stride, head_stride,
                pairs + row * stride + first * n, stride, last - first, prefetcher);
        }
    }

    // sums[query] = sum over its keys of pairs[key][query] * of_keys[key].
    void sum_over_keys(const Real* pairs, const Real* of_keys, Real* sums) {
        for (long i = 0; i < stride; i += head_rows) {
            const long first = lowest_row_[i];
            multiply<Real, head_rows, head_columns, Along::rows, Into::replace>(
                pairs + first * stride + i, stride, of_keys + first * head_stride, head_stride,
                std::max(keys_before(i + head_rows) - first, 0L), sums + i * head_stride, head_stride,
                head_stride / n, prefetcher);
        }
    }

    // sums[key] += sum over the queries that see it of pairs[key][query] * of_queries[query].
    void add_over_queries(const Real* pairs, const Real* of_queries, Real* sums) {
        long last = 0;
        for (long row = 0; row < keys.size(); row += head_rows) {
            const long first = std::max(keys.first + row - start + 1 - include_self_, 0L);
            while (last < size() && lowest_row_[last] < row + head_rows) ++last;
            multiply<Real, head_rows, head_columns, Along::steps, Into::add>(
                pairs + row * stride + first, stride, of_queries + first * head_stride, head_stride,
                std::max(last - first, 0L), sums + row * head_stride, head_stride, head_stride / n, prefetcher);
        }
    }

    // Which queries of a vector see the key in this round but in no earlier one: all bits or none.
    ALWAYS_INLINE Integers<Real> visible(long key, long vector) const {
        Integers<Real> seen = in_window(0, key, vector);
        if (round_ == 0) return seen;
        for (long round = 1; round < round_; ++round) seen |= in_window(round, key, vector);
        return in_window(round_, key, vector) & ~seen;
    }

   private:
    ALWAYS_INLINE Integers<Real> in_window(long round, long key, long vector) const {
        const long at = round * stride + vector * n;
        const auto lowest = load<Unsigneds<Real>>(&lowest_[at]), width = load<Unsigneds<Real>>(&width_[at]);
        const auto place = typename Simd<Real>::Unsigned(keys.at[round * keys.capacity + key]);
        return Integers<Real>(place - lowest < width);
    }

    // The number of packed keys before the query of index i, including itself where it sees itself.
    long keys_before(long i) const { return std::min(start + i - 1 + include_self_ - keys.first, keys.size()); }

    const long include_self_;
    long round_ = 0;
    // Per query, in this and each earlier round: the first place of its window, and the window's size.
    Buffer<Integer> lowest_, width_;
    // The same first place in this round, as a row of the packed keys.
    Buffer<long> lowest_row_, begin_, end_;
};
