// Divides groups of elements by their root mean square, or by their length.
#pragma once

#include <cmath>

#include "memory.hpp"
#include "parallel.hpp"
#include "vectors.hpp"

// The fields are those of `Normalization` in `structures.py`, in the same order. Tensors are [tokens, groups, width].
struct Normalization {
    int64_t tokens, groups, width, threads;
    Tensor x, y, d_y, d_x;
    const float* weight;  // [width], or null
    float* d_weight;      // [width], or null
    double divisor, epsilon;
};

template <class Input, class Output>
class Normalizing {
    static constexpr long task_tokens = 128;

   public:
    explicit Normalizing(const Normalization& problem)
        : problem_(problem), width_(problem.width), tasks_((problem.tokens + task_tokens - 1) / task_tokens) {}

    // y = weight * x / sqrt(<x, x> / divisor + epsilon)
    void forward() const {
        for_each_group([&](long, const Input* x, Output* y, const Output*, Input*) {
            const float inverse = inverse_of(x);
            for (long i = 0; i < width_; ++i) {
                const float unit = as_real(x[i]) * inverse;
                assign(y[i], problem_.weight ? unit * problem_.weight[i] : unit);
            }
        });
    }

    void backward() const {
        Buffer<float> shares(problem_.d_weight ? tasks_ * width_ : 0);
        for_each_group([&](long task, const Input* x, Output*, const Output* d_y, Input* d_x) {
            const float inverse = inverse_of(x);
            float sums[lanes_] = {}, along = 0;
            float* const share = problem_.d_weight ? &shares[task * width_] : nullptr;
            long i = 0;
            const auto add = [&](long i, float& sum) {
                const float unit = as_real(x[i]) * inverse, gradient = as_real(d_y[i]);
                if (share) share[i] += gradient * unit;
                sum += unit * (problem_.weight ? gradient * problem_.weight[i] : gradient);
            };
            for (; i + lanes_ <= width_; i += lanes_)
                for (int lane = 0; lane < lanes_; ++lane) add(i + lane, sums[lane]);
            for (; i < width_; ++i) add(i, sums[0]);
            for (const float sum : sums) along += sum;
            along /= float(problem_.divisor);
            for (i = 0; i < width_; ++i) {
                const float gradient = as_real(d_y[i]), unit = as_real(x[i]) * inverse;
                assign(d_x[i], ((problem_.weight ? gradient * problem_.weight[i] : gradient) - unit * along) * inverse);
            }
        });
        for (long task = 0; problem_.d_weight && task < tasks_; ++task)
            for (long i = 0; i < width_; ++i)
                problem_.d_weight[i] = (task ? problem_.d_weight[i] : 0) + shares[task * width_ + i];
    }

   private:
    static constexpr int lanes_ = 16;

    // Calls work(task, x, y, d_y, d_x) for each group of each token.
    template <class OfGroup>
    void for_each_group(const OfGroup& work) const {
        parallel(problem_.threads, tasks_, [&](long, long task) {
            const long stop = std::min((task + 1) * task_tokens, long(problem_.tokens));
            for (long token = task * task_tokens; token < stop; ++token)
                for (long group = 0; group < problem_.groups; ++group)
                    work(task, at<Input>(problem_.x, token, group), at<Output>(problem_.y, token, group),
                         at<Output>(problem_.d_y, token, group), at<Input>(problem_.d_x, token, group));
        });
    }

    template <class Element>
    static Element* at(const Tensor& tensor, long token, long group) {
        return static_cast<Element*>(tensor.data) + token * tensor.row_stride + group * tensor.second_stride;
    }

    float inverse_of(const Input* x) const {
        return 1 / std::sqrt(dot<float>(x, x, width_) / float(problem_.divisor) + float(problem_.epsilon));
    }

    const Normalization& problem_;
    const long width_, tasks_;
};
