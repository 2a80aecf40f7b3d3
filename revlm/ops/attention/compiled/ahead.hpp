// Memory that the next block will touch, fetched while the present one is computed.
#pragma once

#include <vector>

#include "vectors.hpp"

// Rows in an order that is no order of memory: each would stall its block for as long as main memory takes.
class Ahead {
   public:
    void clear() { rows_.clear(), next_ = 0; }

    template <class Element>
    void add(const Element* row, long size) {
        const char* const first = reinterpret_cast<const char*>(row);
        rows_.push_back({first, first + size * sizeof(Element)});
    }

    // Spreads what has been added over a number of steps.
    void spread(long steps) { at_once_ = (long(rows_.size()) + steps - 1) / std::max(steps, 1L); }

    // Asks for the next few rows, into the second-level cache.
    ALWAYS_INLINE void step() {
        const long stop = std::min(next_ + at_once_, long(rows_.size()));
        for (; next_ < stop; ++next_)
            for (const char* line = rows_[next_].first; line < rows_[next_].last; line += line_bytes)
                __builtin_prefetch(line, 0, 2);
    }

   private:
    static constexpr long line_bytes = 64;
    struct Row {
        const char *first, *last;
    };
    std::vector<Row> rows_;
    long next_ = 0, at_once_ = 0;
};
