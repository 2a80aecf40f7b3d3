// Replaces rows of logits by the gradients of their cross-entropies, in place.
#pragma once

#include <cmath>

#include "../base/memory.hpp"
#include "../base/parallel.hpp"
#include "../base/vectors.hpp"

// The fields are those of `CrossEntropy` in `structures.py`, in the same order.
struct CrossEntropy {
    int64_t rows, classes, threads;
    void* logits;            // [rows, classes]
    const int64_t* targets;  // [rows]
    double* loss;            // [rows]
};

// In float32: softmax minus one-hot of the target, and the negative logarithm of the target's probability.
template <class Input>
class SoftmaxGradient {
    static constexpr int n = lanes<float>;
    static constexpr long rows_of_task = 64;

   public:
    explicit SoftmaxGradient(const CrossEntropy& problem)
        : problem_(problem), stride_(rounded_up(problem.classes, n)) {
        for (long thread = 0; thread < problem.threads; ++thread) rows_.emplace_back(stride_);
    }

    void run() {
        parallel(problem_.threads, (problem_.rows + rows_of_task - 1) / rows_of_task, [&](long thread, long task) {
            const long stop = std::min((task + 1) * rows_of_task, long(problem_.rows));
            for (long row = task * rows_of_task; row < stop; ++row) of_row(rows_[thread], row);
        });
    }

   private:
    void of_row(float* share, long row) const {
        const long classes = problem_.classes, target = problem_.targets[row];
        Input* const logits = static_cast<Input*>(problem_.logits) + row * classes;
        constexpr float nothing = -std::numeric_limits<float>::infinity();
        std::fill(share + classes, share + stride_, nothing);
        for (long i = 0; i < classes; ++i) share[i] = as_real(logits[i]);
        Vector<float> maxima = Vector<float>{} + nothing, sums{};
        for (long i = 0; i < stride_; i += n) {
            const auto logit = load<Vector<float>>(share + i);
            maxima = logit > maxima ? logit : maxima;
        }
        float maximum = nothing, sum = 0;
        for (int lane = 0; lane < n; ++lane) maximum = std::max(maximum, maxima[lane]);
        const float of_target = share[target] - maximum;
        for (long i = 0; i < stride_; i += n) {
            const Vector<float> weight = exponential<float>(load<Vector<float>>(share + i) - maximum);
            store(share + i, weight);
            sums += weight;
        }
        for (int lane = 0; lane < n; ++lane) sum += sums[lane];
        problem_.loss[row] = std::log(double(sum)) - of_target;
        const float factor = 1 / sum;
        for (long i = 0; i < classes; ++i) assign(logits[i], share[i] * factor);
        assign(logits[target], share[target] * factor - 1);
    }

    const CrossEntropy& problem_;
    const long stride_;
    std::vector<Buffer<float>> rows_;
};
