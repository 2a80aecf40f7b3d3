// Angular hashing: each token's nearest direction, of either sign, in each round.
#pragma once

#include <algorithm>
#include <limits>

#include "../base/memory.hpp"
#include "../base/parallel.hpp"
#include "../base/tiles.hpp"

// The numbers of directions of the two factors of a round's hash; `second` may be 0.
struct Factors {
    int64_t first, second;

    int64_t buckets() const { return 2 * first * std::max(2 * second, int64_t(1)); }
};

// The fields are those of `Hash` in `structures.py`, in the same order.
struct Hash {
    int64_t rows, tokens, head_dim, rounds, directions_of_all, threads;
    const Factors* factors;   // [rounds]
    Tensor x;                 // [rows, tokens, head_dim]
    const float* directions;  // [rows, directions_of_all, zero-padded to whole tiles, head_dim]
    int32_t* bucket;          // [rows, rounds, tokens]
};

template <class Input>
class Hashing {
    static constexpr int n = lanes<float>;
    static constexpr long block = 2 * key_columns * n;  // tokens: twice the columns of a tile

   public:
    explicit Hashing(const Hash& hash)
        : hash_(hash),
          directions_(rounded_up(hash.directions_of_all, tile_rows)),
          stride_(rounded_up(hash.head_dim, n)) {
        for (long thread = 0; thread < hash.threads; ++thread) spaces_.emplace_back(stride_, directions_);
    }

    void run() {
        const long blocks = (hash_.tokens + block - 1) / block;
        parallel(hash_.threads, hash_.rows * blocks, [&](long thread, long task) {
            const long start = task % blocks * block;
            of_block(spaces_[thread], task / blocks, start, std::min(start + block, long(hash_.tokens)));
        });
    }

   private:
    // The buffers of a thread: vectors, their transpose, and their products with the directions.
    struct Space {
        Buffer<float> x, transposed, products;
        Prefetcher nothing;

        Space(long stride, long directions)
            : x(block * stride), transposed(stride * block), products(directions * block) {}
    };

    void of_block(Space& space, long row, long start, long stop) const {
        const Rows<Input> x = tokens_of<Input>(hash_.x, row);
        for (long i = 0; i < stop - start; ++i)
            for (long d = 0; d < hash_.head_dim; ++d) space.x[i * stride_ + d] = as_real(x[start + i][d]);
        for (long i = 0; i < block; i += n)
            for (long d = 0; d < stride_; d += n)
                transpose_square<float>(&space.x[i * stride_ + d], stride_, &space.transposed[d * block + i], block);
        const float* const directions = hash_.directions + row * directions_ * hash_.head_dim;
        for (long direction = 0; direction < directions_; direction += key_rows)
            multiply<float, float, key_rows, key_columns, Along::steps, Into::replace>(
                directions + direction * hash_.head_dim, hash_.head_dim, space.transposed, block, hash_.head_dim,
                &space.products[direction * block], block, block / n, space.nothing);
        const float* of_round = &space.products[0];
        for (long round = 0; round < hash_.rounds; ++round) {
            const auto [first, second] = hash_.factors[round];
            for (long i = 0; i < block; i += n) {
                const float* const products = of_round + i;
                Integers<float> bucket = nearest(products, first);
                if (second > 0) bucket = bucket * int32_t(2 * second) + nearest(products + first * block, second);
                int32_t* const to = &hash_.bucket[(row * hash_.rounds + round) * hash_.tokens + start + i];
                for (long lane = 0; lane < std::min(long(n), stop - start - i); ++lane) to[lane] = bucket[lane];
            }
            of_round += (first + second) * block;
        }
    }

    // Each lane's index of the largest among the products followed by their negatives.
    static Integers<float> nearest(const float* products, long count) {
        Vector<float> largest = Vector<float>{} - std::numeric_limits<float>::infinity(), smallest = -largest;
        Integers<float> at_largest{}, at_smallest{};
        for (long direction = 0; direction < count; ++direction) {
            const auto product = load<Vector<float>>(products + direction * block);
            const Integers<float> index = Integers<float>{} + int32_t(direction);
            at_largest = product > largest ? index : at_largest;
            largest = product > largest ? product : largest;
            at_smallest = product < smallest ? index : at_smallest;
            smallest = product < smallest ? product : smallest;
        }
        return largest >= -smallest ? at_largest : at_smallest + int32_t(count);
    }

    const Hash& hash_;
    const long directions_, stride_;
    std::vector<Space> spaces_;
};
