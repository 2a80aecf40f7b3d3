// The packed keys and values of a range of the sorted order, which slides along with the blocks of queries.
#pragma once

#include "../base/memory.hpp"
#include "../base/tiles.hpp"
#include "order.hpp"

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

// What a pass needs of the keys besides their products with queries.
enum class Need { values, gradients };

template <class Input, class Real>
class Keys {
    using Operand = typename Operands<Input, Real>::Element;
    static constexpr int numbers = Operands<Input, Real>::numbers;

   public:
    // Sums of vectors are padded to `stride`, and operands of them to `operand_stride`; rows after the last key are
    // zero up to a whole tile of keys. `capacity` is the most rows at a time, `room` how many there is memory for.
    const long stride, operand_stride, capacity, room;
    // Rows from 0 on hold the keys at first <= place < last of this round's order.
    Operand *k, *v;
    Real *d_k, *d_v;
    // The place of each key in this and each earlier round: [round][row], `room` apart.
    typename Simd<Real>::Integer* at;
    long first = 0, last = 0;

    Keys(const Problem& problem, Need need)
        : stride(rounded_up(problem.head_dim, lanes<Real>)),
          operand_stride(rounded_up(stride / numbers, lanes<Real>)),
          capacity(rounded_up(problem.window + problem.block + numbers - 1, key_rows)),
          room(capacity + rounded_up(slack * problem.block, key_rows)),
          need_(need),
          all_k_(room * operand_stride),
          all_v_(room * operand_stride),
          all_paired_(numbers > 1 ? room / numbers * stride : 0),
          all_d_k_(need == Need::gradients ? room * stride : 0),
          all_d_v_(need == Need::gradients ? room * stride : 0),
          all_at_(problem.rounds * room) {
        start_at(0);
    }

    long size() const { return last - first; }

    // Keys (values in the pass that needs those) as operands of sums over keys, [key, or pair of keys][head element].
    const Operand* summands() const {
        if constexpr (numbers > 1) return paired_;
        return need_ == Need::values ? v : k;
    }

    // Discards all keys.
    void clear() {
        first = last = 0;
        start_at(0);
    }

    // Advances to the places new_first <= place < new_last; neither bound may decrease. Pairs of keys are those of the
    // places 2i and 2i + 1, whatever the block, so `first` may be one less.
    void advance(const Scene<Input>& scene, long new_first, long new_last) {
        new_first = new_first / numbers * numbers;
        const long kept = std::max(last - new_first, 0L), rounds = scene.round + 1;
        skip(kept > 0 ? new_first - first : 0, kept, rounds);
        first = new_first, last = new_last;
        const Problem& problem = scene.problem;
        for (long row = kept; row < size(); ++row) {
            const int64_t position = scene.token()[first + row];
            pack_row(k + row * operand_stride, scene.k[position], problem.head_dim);
            pack_row(v + row * operand_stride, scene.v[position], problem.head_dim);
            const Place* const places = scene.places(position);
            for (long round = 0; round < rounds; ++round) at[round * room + row] = places[round].at;
        }
        const long end = rounded_up(size(), key_rows);
        for (Operand* rows : {k, v}) std::fill(rows + size() * operand_stride, rows + end * operand_stride, Operand{});
        if constexpr (numbers > 1) {
            const Operand* const rows = need_ == Need::values ? v : k;
            for (long row = kept / numbers * numbers; row < end; row += numbers)
                pair_rows(rows + row * operand_stride, rows + (row + 1) * operand_stride, stride,
                          paired_ + row / numbers * stride);
        }
        if (need_ == Need::gradients)
            for (Real* rows : {d_k, d_v}) std::fill(rows + kept * stride, rows + end * stride, Real(0));
        for (long row = size(); row < end; ++row)
            for (long round = 0; round < rounds; ++round) at[round * room + row] = -1;
    }

   private:
    static constexpr long slack = 2;  // blocks that rows advance by before they are moved back to the beginning

    // Drops the first rows; the `kept` ones after them become the first.
    void skip(long skipped, long kept, long rounds) {
        const long from = kept > 0 ? offset_ + skipped : 0;
        if (from + capacity <= room) return start_at(from);
        start_at(0);
        move(k, operand_stride, from, kept);
        move(v, operand_stride, from, kept);
        if constexpr (numbers > 1) move(paired_, stride, from / numbers, (kept + numbers - 1) / numbers);
        if (need_ == Need::gradients)
            for (Real* sums : {d_k, d_v}) move(sums, stride, from, kept);
        for (long round = 0; round < rounds; ++round) move(at + round * room, 1, from, kept);
    }

    void start_at(long offset) {
        offset_ = offset;
        k = all_k_ + offset * operand_stride, v = all_v_ + offset * operand_stride;
        d_k = all_d_k_ + offset * stride, d_v = all_d_v_ + offset * stride;
        paired_ = all_paired_ + offset / numbers * stride;
        at = all_at_ + offset;
    }

    // Ranges may overlap: the target comes first.
    template <class Element>
    static void move(Element* rows, long width, long from, long kept) {
        std::copy_n(rows + from * width, kept * width, rows);
    }

    const Need need_;
    long offset_ = 0;
    Operand* paired_;
    Buffer<Operand> all_k_, all_v_, all_paired_;
    Buffer<Real> all_d_k_, all_d_v_;
    Buffer<typename Simd<Real>::Integer> all_at_;
};
