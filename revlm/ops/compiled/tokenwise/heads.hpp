// Splits projections into heads: unit vectors, turned by their positions, and written head by head.
#pragma once

#include <cmath>

#include "../base/memory.hpp"
#include "../base/parallel.hpp"
#include "../base/problem.hpp"

// The fields are those of `Heads` in `structures.py`, in the same order.
struct Heads {
    int64_t parts, units, tokens, heads, head_dim, threads;
    const Tensor *x, *y, *d_x;    // [parts], each [tokens, heads, head_dim]; with d_x, y are the gradients of the heads
    const float *cosine, *sine;  // [tokens, head_dim / 2], or null
    double epsilon;
};

// The vectors of the first `units` parts are divided by sqrt(<x, x> + epsilon), and turned where there are angles.
template <class Input, class Output>
class SplittingHeads {
    static constexpr long task_tokens = 64;

   public:
    explicit SplittingHeads(const Heads& problem)
        : problem_(problem), head_dim_(problem.head_dim), tasks_((problem.tokens + task_tokens - 1) / task_tokens) {
        for (long thread = 0; thread < problem.threads; ++thread) rows_.emplace_back(2 * head_dim_);
    }

    void run() {
        parallel(problem_.threads, tasks_, [&](long thread, long task) {
            const long stop = std::min((task + 1) * task_tokens, long(problem_.tokens));
            for (long part = 0; part < problem_.parts; ++part)
                for (long head = 0; head < problem_.heads; ++head)
                    for (long token = task * task_tokens; token < stop; ++token)
                        problem_.d_x ? differentiate(rows_[thread], part, head, token)
                                     : split(rows_[thread], part, head, token);
        });
    }

   private:
    void split(float* __restrict row, long part, long head, long token) const {
        const Input* const x = at<Input>(problem_.x[part], token, head);
        Output* const y = at<Output>(problem_.y[part], token, head);
        if (part >= problem_.units) {
            copy(x, y);
            return;
        }
        const float inverse = inverse_of(x);
        for (long i = 0; i < head_dim_; ++i) row[i] = as_real(x[i]) * inverse;
        if (problem_.cosine) turn(row, token, 1);
        for (long i = 0; i < head_dim_; ++i) assign(y[i], row[i]);
    }

    void differentiate(float* __restrict row, long part, long head, long token) const {
        const Input* const x = at<Input>(problem_.x[part], token, head);
        const Output* const d_y = at<Output>(problem_.y[part], token, head);
        Input* const d_x = at<Input>(problem_.d_x[part], token, head);
        if (part >= problem_.units) {
            copy(d_y, d_x);
            return;
        }
        float* __restrict const unit = row + head_dim_;
        const float inverse = inverse_of(x);
        for (long i = 0; i < head_dim_; ++i) {
            row[i] = as_real(d_y[i]);
            unit[i] = as_real(x[i]) * inverse;
        }
        if (problem_.cosine) turn(row, token, -1);
        const float along = dot<float>(row, unit, head_dim_);
        for (long i = 0; i < head_dim_; ++i) assign(d_x[i], (row[i] - unit[i] * along) * inverse);
    }

    template <class From, class To>
    void copy(const From* __restrict from, To* __restrict to) const {
        if constexpr (std::is_same_v<From, To>)
            std::copy_n(from, head_dim_, to);
        else
            for (long i = 0; i < head_dim_; ++i) assign(to[i], as_real(from[i]));
    }

    // Turns each pair (i, i + half) by the token's angles, or back.
    void turn(float* row, long token, float direction) const {
        const long half = head_dim_ / 2;
        const float* __restrict const cosine = problem_.cosine + token * half;
        const float* __restrict const sine = problem_.sine + token * half;
        float *__restrict const first = row, *__restrict const second = row + half;
        for (long i = 0; i < half; ++i) {
            const float a = first[i], b = second[i], s = direction * sine[i];
            first[i] = a * cosine[i] - b * s;
            second[i] = a * s + b * cosine[i];
        }
    }

    template <class Element>
    static Element* at(const Tensor& tensor, long token, long head) {
        return static_cast<Element*>(tensor.data) + token * tensor.row_stride + head * tensor.second_stride;
    }

    float inverse_of(const Input* x) const {
        return 1 / std::sqrt(dot<float>(x, x, head_dim_) + float(problem_.epsilon));
    }

    const Heads& problem_;
    const long head_dim_, tasks_;
    std::vector<Buffer<float>> rows_;
};
