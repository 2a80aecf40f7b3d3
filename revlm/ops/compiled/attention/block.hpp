// A block of queries and the band of packed keys that they see.
#pragma once

#include <cmath>
#include <limits>

#include "../base/prefetcher.hpp"
#include "keys.hpp"

// Rows of a block's queries, packed for products.
template <class Operand>
struct Queries {
    // [query][head element], its transpose, and the operand of sums over queries: [query, or pair][head element].
    Buffer<Operand> rows, transposed, paired;
};

template <class Input, class Real>
class Block {
    static constexpr int n = lanes<Real>;
    using Integer = typename Simd<Real>::Integer;
    using Operand = typename Operands<Input, Real>::Element;

   public:
    static constexpr int numbers = Operands<Input, Real>::numbers;
    // Pairs of numbers are not multiplied by the scale, which would round them again: their logits and gradients are.
    static constexpr bool scales_queries = numbers == 1;
    // The queries of a block and the elements of a head, padded to whole vectors.
    const long stride, head_stride;
    Keys<Input, Real> keys;
    Prefetcher prefetcher;
    // The queries at the places start <= place < stop.
    long start = 0, stop = 0;

    Block(const Problem& problem, Need need)
        : stride(rounded_up(problem.block, std::max(n, head_rows))),
          head_stride(rounded_up(problem.head_dim, n)),
          keys(problem, need),
          include_self_(problem.include_self),
          lowest_(problem.rounds * stride),
          width_(problem.rounds * stride),
          lowest_row_(stride),
          begin_(stride / n),
          end_(stride / n) {}

    // Buffers for pairs of a key and a query, [key][query], also with pairs of queries, for sums of queries, and for
    // queries.
    Buffer<Real> pairs() const { return Buffer<Real>(keys.capacity * stride); }
    Buffer<Operand> paired_queries() const {
        return Buffer<Operand>(numbers > 1 ? keys.capacity * stride / numbers : 0);
    }
    Buffer<Real> sums() const { return Buffer<Real>(stride * head_stride); }
    Queries<Operand> queries(Need need) const {
        const long size = stride * keys.operand_stride;
        return {Buffer<Operand>(size), Buffer<Operand>(size),
                Buffer<Operand>(numbers > 1 && need == Need::gradients ? stride / numbers * head_stride : 0)};
    }

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

    // Starts prefetching for the next block; touch(position, query) adds the rows of its positions, at most
    // `most_fields` - 1 of each.
    template <class Touch>
    void prefetch_next(const Scene<Input>& scene, long segment_stop, const Touch& touch) {
        const long block = scene.problem.block;
        const int32_t* const token = scene.token();
        prefetcher.clear(block * most_fields);
        for (long place = stop; place < std::min(stop + block, segment_stop); ++place) {
            // The processor itself prefetches what follows in memory.
            if (place + block < segment_stop && token[place + block] != token[place + block - 1] + 1)
                prefetcher.add(scene.places(token[place + block]), scene.round + 1);
            if (token[place] != token[place - 1] + 1) touch(token[place], scene.query(token[place]));
        }
        prefetcher.spread();
    }

    // Packs queries (rows of `from`), for gradients also as operands of sums over queries.
    void load_queries(const Scene<Input>& scene, Rows<const Input> from, Real factor, Need need,
                      Queries<Operand>& queries) const {
        const long head_dim = scene.problem.head_dim, width = keys.operand_stride;
        for (long i = 0; i < stride; ++i) {
            Operand* const to = &queries.rows[i * width];
            const int64_t query = i < size() ? scene.query(scene.token()[start + i]) : -1;
            if (query < 0)
                std::fill_n(to, width, Operand{});
            else if constexpr (scales_queries)
                pack_row(to, from[query], head_dim, factor);
            else
                pack_row(to, from[query], head_dim);
        }
        for (long i = 0; i < stride; i += n)
            for (long d = 0; d < width; d += n)
                transpose_square(&queries.rows[i * width + d], width, &queries.transposed[d * stride + i], stride);
        if constexpr (numbers > 1)
            for (long i = 0; need == Need::gradients && i < stride; i += numbers)
                pair_rows(&queries.rows[i * width], &queries.rows[(i + 1) * width], head_stride,
                          &queries.paired[i / numbers * head_stride]);
    }

    // pairs[key][query] = <of_keys[key], queries[query]> over all tiles of the band.
    void products(const Operand* of_keys, const Queries<Operand>& queries, Real* pairs) {
        long first = 0, last = 0;
        for (long row = 0; row < keys.size(); row += key_rows) {
            while (first < vectors() && end_[first] <= row) ++first;
            while (last < vectors() && begin_[last] <= row) ++last;
            multiply<Real, Operand, key_rows, key_columns, Along::steps, Into::replace>(
                of_keys + row * keys.operand_stride, keys.operand_stride, queries.transposed + first * n, stride,
                head_stride / numbers, pairs + row * stride + first * n, stride, last - first, prefetcher);
        }
    }

    // sums[query] = sum over its keys of pairs[key, or pair of keys][query] * the operand of the keys.
    void sum_over_keys(const Operand* pairs, Real* sums) {
        for (long i = 0; i < stride; i += head_rows) {
            const long first = lowest_row_[i] / numbers;
            const long last = (keys_before(i + head_rows) + numbers - 1) / numbers;
            multiply<Real, Operand, head_rows, head_columns, Along::rows, Into::replace>(
                pairs + first * stride + i, stride, keys.summands() + first * head_stride, head_stride,
                std::max(last - first, 0L), sums + i * head_stride, head_stride, head_stride / n, prefetcher);
        }
    }

    // sums[key] += sum over the queries that see it of pairs[key][query, or pair of queries] * the operand of the
    // queries.
    void add_over_queries(const Operand* pairs, const Queries<Operand>& queries, Real* sums) {
        const Operand* const of_queries = numbers > 1 ? queries.paired : queries.rows;
        long last = 0;
        for (long row = 0; row < keys.size(); row += head_rows) {
            const long first = std::max(keys.first + row - start + 1 - include_self_, 0L) / numbers;
            while (last < size() && lowest_row_[last] < row + head_rows) ++last;
            multiply<Real, Operand, head_rows, head_columns, Along::steps, Into::add>(
                pairs + row * stride / numbers + first, stride / numbers, of_queries + first * head_stride, head_stride,
                std::max((last + numbers - 1) / numbers - first, 0L), sums + row * head_stride, head_stride,
                head_stride / n, prefetcher);
        }
    }

    // Which queries of a vector see a key in this round but in no earlier one, as a function of the key.
    ALWAYS_INLINE auto visibility(long vector) const {
        // Copies, since the compiler reloads members after every store.
        return [lowest = &lowest_[vector * n], width = &width_[vector * n], at = keys.at, stride = stride,
                room = keys.room, last = round_](long key) -> Mask<Real> {
            const auto in_window = [&](long round) {
                const auto place = typename Simd<Real>::Unsigned(at[round * room + key]);
                return is_less(Unsigneds<Real>(place - load<Unsigneds<Real>>(lowest + round * stride)),
                               load<Unsigneds<Real>>(width + round * stride));
            };
            Mask<Real> seen{};
            for (long round = 0; round < last; ++round) seen |= in_window(round);
            return in_window(last) & ~seen;
        };
    }

   private:
    static constexpr long most_fields = 9;

    // The number of packed keys before the query of index i, including itself where it sees itself.
    long keys_before(long i) const { return std::min(start + i - 1 + include_self_ - keys.first, keys.size()); }

    const long include_self_;
    long round_ = 0;
    // Per query, in this and each earlier round: the first place of its window, and the window's size.
    Buffer<Integer> lowest_, width_;
    // The same first place in this round, as a row of the packed keys.
    Buffer<long> lowest_row_, begin_, end_;
};
