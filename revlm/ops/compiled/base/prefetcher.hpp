// Prefetches the memory that the next block reads while the current one is computed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "vectors.hpp"

// The rows of a block are scattered in memory, and each would stall the block for the latency of main memory.
// Prefetching them all at once would stall it as well, so the prefetches are spread over the steps of the current block.
class Prefetcher {
   public:
    // Starts the list for another block, of at most `most` additions.
    void clear(long most) {
        if (long(rows_.size()) < most) rows_.resize(most);
        expected_steps_ = std::max(steps_, 1L);
        count_ = next_ = steps_ = lines_ = 0;
        line_ = end_ = latest_end_ = 0;
    }

    // Adds some elements; those adjacent to the last ones, like the fields of a record, extend its entry.
    template <class Element>
    ALWAYS_INLINE void add(const Element* from, long size) {
        const uintptr_t first = reinterpret_cast<uintptr_t>(from) / line_bytes * line_bytes;
        const uintptr_t last = (reinterpret_cast<uintptr_t>(from + size) + line_bytes - 1) / line_bytes * line_bytes;
        lines_ += (last - first) / line_bytes;
        if (latest_end_ != first) rows_[count_++].first = first;
        rows_[count_ - 1].last = latest_end_ = last;
    }

    // Ends the list; its lines are spread over as many steps as the previous block took.
    void spread() { at_once_ = (lines_ + expected_steps_ - 1) / expected_steps_; }

    // Prefetches the next few lines into the L2 cache.
    ALWAYS_INLINE void step() {
        ++steps_;
        for (long i = 0; i < at_once_; ++i, line_ += line_bytes) {
            if (line_ == end_) {
                if (next_ == count_) return;
                line_ = rows_[next_].first, end_ = rows_[next_].last;
                ++next_;
            }
            __builtin_prefetch(reinterpret_cast<const void*>(line_), 0, 2);
        }
    }

   private:
    static constexpr uintptr_t line_bytes = 64;
    struct Row {
        uintptr_t first, last;
    };
    std::vector<Row> rows_;
    uintptr_t line_ = 0, end_ = 0, latest_end_ = 0;
    long count_ = 0, next_ = 0, lines_ = 0, steps_ = 0, at_once_ = 0, expected_steps_ = 1;
};
