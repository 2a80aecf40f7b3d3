// The sorted order of a row's buckets, in which every window is a contiguous band.
#pragma once

#include <algorithm>
#include <vector>

#include "../base/problem.hpp"

// A position's place in the order of one round, and the first place of its window.
struct Place {
    int32_t at, lowest;
};
static_assert(sizeof(Place) == place_bytes);

// The order of one row: `token[round][place]` is the position at a place, `place[position][round]` the place of a
// position. s is in S_r(t) if and only if place[t][r].lowest <= place[s][r].at < place[t][r].at (<= if the token itself
// is included).
struct Order {
    std::vector<int32_t> token;
    std::vector<Place> place;

    Order(const Problem& problem) : token(problem.rounds * problem.tokens), place(token.size()) {}

    // Sorts one round of one row by (bucket, position): a stable radix sort, 11 bits at a time.
    void sort(const Problem& problem, int64_t row, int64_t round) {
        constexpr int digit_bits = 11, digits = 1 << digit_bits;
        const int64_t tokens = problem.tokens;
        const int32_t* bucket = static_cast<int32_t*>(problem.bucket.data) + row * problem.bucket.row_stride +
                                round * problem.bucket.second_stride;
        std::vector<int32_t> number(tokens), sorted_number(tokens), sorted(tokens);
        int32_t* const order = token.data() + round * tokens;
        int32_t largest = 0;
        for (int64_t t = 0; t < tokens; ++t) {
            number[t] = bucket[t * problem.bucket.third_stride];
            largest = std::max(largest, number[t]);
            order[t] = int32_t(t);
        }
        for (int shift = 0; shift < 32 && largest >> shift > 0; shift += digit_bits) {
            std::vector<int32_t> start(digits + 1);
            for (const int32_t n : number) ++start[(n >> shift & (digits - 1)) + 1];
            for (int digit = 0; digit < digits; ++digit) start[digit + 1] += start[digit];
            for (int64_t i = 0; i < tokens; ++i) {
                const int32_t to = start[number[i] >> shift & (digits - 1)]++;
                sorted_number[to] = number[i];
                sorted[to] = order[i];
            }
            number.swap(sorted_number);
            std::copy(sorted.begin(), sorted.end(), order);
        }
        const int64_t reach = problem.window - (problem.include_self ? 1 : 0);
        int64_t bucket_start = 0;
        for (int64_t i = 0; i < tokens; ++i) {
            if (i > 0 && number[i] != number[i - 1]) bucket_start = i;
            place[order[i] * problem.rounds + round] = {int32_t(i), int32_t(std::max(bucket_start, i - reach))};
        }
    }
};
