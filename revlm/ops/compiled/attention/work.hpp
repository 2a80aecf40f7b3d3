// Splits both passes into tasks: groups of rows and rounds in sequence, segments of the sorted order in parallel.
#pragma once

#include "../base/memory.hpp"
#include "../base/parallel.hpp"
#include "order.hpp"

// A task: a range of tokens, or places, of a row, the i-th of its group; `task` is the task's index in the group.
struct Segment {
    long i, task, start, stop;
};

class Work {
   public:
    const Problem& problem;
    // Queries per task: independent of the number of threads, so that results are, too; even, for pairs of queries.
    const long segment, segments;
    // Rows processed together: one, unless it has too few segments to keep the threads busy.
    const long group;

    explicit Work(const Problem& problem)
        : problem(problem),
          segment(rounded_up(std::max({least_segment, long(problem.window), long(problem.block)}), 2)),
          segments((problem.tokens + segment - 1) / segment),
          group(std::clamp(4 * long(problem.threads) / segments, 1L, long(problem.rows))) {
        for (long i = 0; i < (shared() ? 1 : group); ++i) orders_.emplace_back(problem);
    }

    // Calls work(first_row, rows) for each group of rows, once their orders are sorted.
    template <class OfGroup>
    void for_each_group(const OfGroup& work) {
        for (long first = 0; first < problem.rows; first += group) {
            const long rows = std::min(group, problem.rows - first);
            if (first == 0 || !shared()) {
                const long sorts = (shared() ? 1 : rows) * problem.rounds;
                parallel(problem.threads, sorts, [&](long, long task) {
                    const long i = task / problem.rounds;
                    orders_[i].sort(problem, first + i, task % problem.rounds);
                });
            }
            work(first, rows);
        }
    }

    // Calls work(thread, segment) for all segments of some rows.
    template <class OfSegment>
    void for_each_segment(long rows, const OfSegment& work) const {
        parallel(problem.threads, rows * segments, [&](long thread, long task) {
            const long start = task % segments * segment;
            work(thread, Segment{task / segments, task, start, std::min(start + segment, long(problem.tokens))});
        });
    }

    // The order of a row of the current group; rows that share their buckets (stride 0) share the sort.
    const Order& order(long row_in_group) const { return orders_[shared() ? 0 : row_in_group]; }

   private:
    bool shared() const { return problem.bucket.row_stride == 0; }
    std::vector<Order> orders_;
};
