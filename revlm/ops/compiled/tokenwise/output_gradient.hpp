// The gradient of an output written over it, and their inner products.
#pragma once

#include "../base/parallel.hpp"
#include "../base/problem.hpp"

// The fields are those of `OutputGradient` in `structures.py`, in the same order.
struct OutputGradient {
    int64_t rows, tokens, head_dim, threads;
    Tensor out, d_out, delta;  // delta: [rows, tokens, 1], of the accumulation type
};

template <class Element, class Real>
class WriteGradient {
    // Starting a thread takes as long as processing this many tokens.
    static constexpr long tokens_of_task = 1 << 12;

   public:
    explicit WriteGradient(const OutputGradient& problem) : problem_(problem) {}

    void run() {
        const long tasks_of_row = (problem_.tokens + tokens_of_task - 1) / tokens_of_task;
        parallel(problem_.threads, problem_.rows * tasks_of_row, [&](long, long task) {
            const long row = task / tasks_of_row, start = task % tasks_of_row * tokens_of_task;
            const Rows<Element> out = tokens_of<Element>(problem_.out, row);
            const Rows<const Element> d_out = tokens_of<const Element>(problem_.d_out, row);
            const Rows<Real> delta = tokens_of<Real>(problem_.delta, row);
            const long size = problem_.head_dim;
            for (long token = start; token < std::min(start + tokens_of_task, long(problem_.tokens)); ++token) {
                *delta[token] = dot<Real>(d_out[token], out[token], size);
                std::memcpy(out[token], d_out[token], size * sizeof(Element));
            }
        });
    }

   private:
    const OutputGradient& problem_;
};
