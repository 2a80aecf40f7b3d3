// The squared ReLU and its gradient.
#pragma once

#include <cmath>

#include "../base/parallel.hpp"
#include "../base/problem.hpp"

// The fields are those of `SquaredReLU` in `structures.py`, in the same order.
struct SquaredReLU {
    int64_t elements, threads;
    const void *x, *d_out;  // no d_out: the forward pass
    void* out;
};

// out = relu(x)^2, or 2 relu(x) d_out; NaN stays NaN.
template <class Element>
class Squaring {
    // Waking a thread takes as long as processing this many elements.
    static constexpr long elements_of_task = 1 << 16;

   public:
    explicit Squaring(const SquaredReLU& problem) : problem_(problem) {}

    void run() {
        const long elements = problem_.elements;
        parallel(problem_.threads, (elements + elements_of_task - 1) / elements_of_task, [&](long, long task) {
            const long start = task * elements_of_task, size = std::min(elements_of_task, elements - start);
            const Element* const x = static_cast<const Element*>(problem_.x) + start;
            Element* const out = static_cast<Element*>(problem_.out) + start;
            if (problem_.d_out)
                differentiate(x, static_cast<const Element*>(problem_.d_out) + start, size, out);
            else
                square(x, size, out);
        });
    }

   private:
    // Exactly x or 0 (of -inf NaN), without a branch, which compilers do not vectorize and processors mispredict.
    static float positive(Element x) { return (as_real(x) + std::fabs(as_real(x))) / 2; }

    static void square(const Element* __restrict x, long size, Element* __restrict out) {
        for (long i = 0; i < size; ++i) assign(out[i], positive(x[i]) * positive(x[i]));
    }

    static void differentiate(const Element* __restrict x, const Element* __restrict d_out, long size,
                              Element* __restrict out) {
        for (long i = 0; i < size; ++i) assign(out[i], 2 * (positive(x[i]) * as_real(d_out[i])));
    }

    const SquaredReLU& problem_;
};
