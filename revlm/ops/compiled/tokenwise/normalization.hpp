// Divides groups of elements, also those of an integer stream, by their root mean square.
#pragma once

#include <cmath>

#include "../base/memory.hpp"
#include "../base/parallel.hpp"
#include "../base/vectors.hpp"

// The fields are those of `Normalization` in `structures.py`, in the same order. Tensors are [tokens, groups, width].
struct Normalization {
    int64_t tokens, groups, width, threads;
    Tensor x, y, d_y, d_x;
    const float* weight;  // [width], or null
    float* d_weight;      // [width], or null
    double divisor, epsilon;
    double step;  // of the grid of an integer x
    int64_t add;  // whether the gradient is added to d_x
};

// An Input is int32_t for the numbers of a stream, which are converted group by group.
template <class Input, class Output>
class Normalizing {
    static constexpr long task_tokens = 128;
    static constexpr bool is_stream = std::is_same_v<Input, int32_t>;
    using Value = std::conditional_t<is_stream, float, Input>;

   public:
    explicit Normalizing(const Normalization& problem)
        : problem_(problem), width_(problem.width), tasks_((problem.tokens + task_tokens - 1) / task_tokens) {
        for (long thread = 0; thread < problem.threads; ++thread) rows_.emplace_back(2 * width_);
    }

    // y = weight * x / sqrt(<x, x> / divisor + epsilon)
    void forward() {
        for_each_group([&](long, float*, const Value* x, Output* y, const Output*, Value*) {
            const float inverse = inverse_of(x);
            for (long i = 0; i < width_; ++i) {
                const float unit = as_real(x[i]) * inverse;
                assign(y[i], problem_.weight ? unit * problem_.weight[i] : unit);
            }
        });
    }

    void backward() {
        Buffer<float> shares(problem_.d_weight ? tasks_ * width_ : 0);
        for_each_group([&](long task, float* row, const Value* x, Output*, const Output* d_y, Value* d_x) {
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
                row[i] = ((problem_.weight ? gradient * problem_.weight[i] : gradient) - unit * along) * inverse;
            }
            // In loops of their own: adding in the one above would round once less than adding the gradient later.
            if (problem_.add)
                for (i = 0; i < width_; ++i) assign(d_x[i], as_real(d_x[i]) + row[i]);
            else
                for (i = 0; i < width_; ++i) assign(d_x[i], row[i]);
        });
        for (long task = 0; problem_.d_weight && task < tasks_; ++task)
            for (long i = 0; i < width_; ++i)
                problem_.d_weight[i] = (task ? problem_.d_weight[i] : 0) + shares[task * width_ + i];
    }

   private:
    static constexpr int lanes_ = 16;

    // Calls work(task, row, x, y, d_y, d_x) for each group of each token; `row` is memory for a group's numbers.
    template <class OfGroup>
    void for_each_group(const OfGroup& work) {
        parallel(problem_.threads, tasks_, [&](long thread, long task) {
            float *const row = rows_[thread], *const values = row + width_;
            const long stop = std::min((task + 1) * task_tokens, long(problem_.tokens));
            for (long token = task * task_tokens; token < stop; ++token)
                for (long group = 0; group < problem_.groups; ++group) {
                    const Value* x;
                    if constexpr (is_stream) {
                        convert(at<int32_t>(problem_.x, token, group), values);
                        x = values;
                    } else {
                        x = at<Input>(problem_.x, token, group);
                    }
                    work(task, row, x, at<Output>(problem_.y, token, group), at<Output>(problem_.d_y, token, group),
                         at<Value>(problem_.d_x, token, group));
                }
        });
    }

    void convert(const int32_t* __restrict numbers, float* __restrict values) const {
        const float step = float(problem_.step);
        for (long i = 0; i < width_; ++i) values[i] = float(numbers[i]) * step;
    }

    template <class Element>
    static Element* at(const Tensor& tensor, long token, long group) {
        return static_cast<Element*>(tensor.data) + token * tensor.row_stride + group * tensor.second_stride;
    }

    float inverse_of(const Value* x) const {
        return 1 / std::sqrt(dot<float>(x, x, width_) / float(problem_.divisor) + float(problem_.epsilon));
    }

    const Normalization& problem_;
    const long width_, tasks_;
    std::vector<Buffer<float>> rows_;
};
