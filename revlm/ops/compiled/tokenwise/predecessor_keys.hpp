// The unit vectors of the weighted sums of a token's key and its predecessor's, and their gradients.
#pragma once

#include <cmath>

#include "../base/memory.hpp"
#include "../base/parallel.hpp"
#include "../base/problem.hpp"

// The fields are those of `PredecessorKeys` in `structures.py`, in the same order.
struct PredecessorKeys {
    int64_t rows, tokens, head_dim, documents, threads;
    Tensor k, out, d_k;     // with d_k, `out` is the gradient of the result; both may share their memory
    const int64_t* starts;  // [documents], the first token of each in ascending order
    const float* weight;    // [rows], of the predecessor's key
    float* d_weight;        // [rows]
    double epsilon;         // added to the squared length of the sums
};

template <class Element>
class AddingPredecessors {
    static constexpr long task_tokens = 1 << 11;

   public:
    explicit AddingPredecessors(const PredecessorKeys& problem)
        : problem_(problem),
          head_dim_(problem.head_dim),
          tasks_of_row_((problem.tokens + task_tokens - 1) / task_tokens),
          d_following_(problem.d_k.data ? problem.rows * tasks_of_row_ * head_dim_ : 0),
          d_weights_(problem.d_k.data ? problem.rows * tasks_of_row_ : 0) {
        for (long thread = 0; thread < problem.threads; ++thread) spaces_.emplace_back(head_dim_);
    }

    void run() {
        if (!problem_.d_k.data) {
            each_task([this](Space& space, long row, long task) { add(space, row, task); });
            return;
        }
        // A task writes over the gradient that the one before it needs.
        for (long row = 0; row < problem_.rows; ++row)
            for (long task = 0; task + 1 < tasks_of_row_; ++task)
                std::copy_n(tokens_of<Element>(problem_.out, row)[(task + 1) * task_tokens], head_dim_,
                            &d_following_[(row * tasks_of_row_ + task) * head_dim_]);
        each_task([this](Space& space, long row, long task) { differentiate(space, row, task); });
        for (long row = 0; row < problem_.rows; ++row) {
            double sum = 0;
            for (long task = 0; task < tasks_of_row_; ++task) sum += d_weights_[row * tasks_of_row_ + task];
            problem_.d_weight[row] = float(sum);
        }
    }

   private:
    // Where a thread works: vectors of a token and of the one before it.
    struct Space {
        Buffer<float> k, previous, sum, d_sum, d_sum_before;

        explicit Space(long size) : k(size), previous(size), sum(size), d_sum(size), d_sum_before(size) {}
    };

    // Whether each of ascending tokens is the first of its document.
    class Firsts {
       public:
        Firsts(const PredecessorKeys& problem, long token)
            : next_(std::lower_bound(problem.starts, problem.starts + problem.documents, token)),
              end_(problem.starts + problem.documents) {}

        bool is_first(long token) {
            const bool starts = next_ != end_ && *next_ == token;
            next_ += starts;
            return starts || token == 0;
        }

       private:
        const int64_t *next_, *const end_;
    };

    template <class OfTask>
    void each_task(const OfTask& of_task) {
        parallel(problem_.threads, problem_.rows * tasks_of_row_, [&](long thread, long task) {
            of_task(spaces_[thread], task / tasks_of_row_, task % tasks_of_row_);
        });
    }

    void add(Space& space, long row, long task) const {
        const Rows<const Element> k = tokens_of<const Element>(problem_.k, row);
        const Rows<Element> out = tokens_of<Element>(problem_.out, row);
        const long start = task * task_tokens, stop = std::min(start + task_tokens, long(problem_.tokens));
        Firsts firsts(problem_, start);
        if (start > 0) read(k[start - 1], space.previous);
        for (long token = start; token < stop; ++token) {
            add_previous(k[token], space, firsts.is_first(token), problem_.weight[row]);
            write(out[token], space.sum, inverse_length(space.sum));
            std::swap(space.k, space.previous);
        }
    }

    void differentiate(Space& space, long row, long task) {
        const Rows<const Element> k = tokens_of<const Element>(problem_.k, row);
        const Rows<const Element> d_out = tokens_of<const Element>(problem_.out, row);
        const Rows<Element> d_k = tokens_of<Element>(problem_.d_k, row);
        const long start = task * task_tokens, stop = std::min(start + task_tokens, long(problem_.tokens));
        const float weight = problem_.weight[row];
        double d_weight = 0;
        Firsts firsts(problem_, start);
        if (start > 0) read(k[start - 1], space.previous);
        // The gradient of a key needs that of the next token's sum, also of the first one after the task.
        for (long token = start; token < std::min(stop + 1, long(problem_.tokens)); ++token) {
            const bool is_first = firsts.is_first(token);
            add_previous(k[token], space, is_first, weight);
            differentiate_unit(
                token < stop ? d_out[token] : &d_following_[(row * tasks_of_row_ + task) * head_dim_], space.sum,
                space.d_sum);
            if (token > start && !is_first) write_sum(space.d_sum_before, space.d_sum, weight, d_k[token - 1]);
            if (token > start && is_first) write(d_k[token - 1], space.d_sum_before, 1);
            if (token < stop && !is_first) d_weight += dot<float>(&space.d_sum[0], &space.previous[0], head_dim_);
            std::swap(space.d_sum, space.d_sum_before);
            std::swap(space.k, space.previous);
        }
        if (stop == problem_.tokens) write(d_k[stop - 1], space.d_sum_before, 1);
        d_weights_[row * tasks_of_row_ + task] = d_weight;
    }

    void read(const Element* __restrict from, float* __restrict to) const {
        for (long i = 0; i < head_dim_; ++i) to[i] = as_real(from[i]);
    }

    // Reads a key, and sets `sum` to the sum of it and the weighted previous one.
    void add_previous(const Element* __restrict from, Space& space, bool is_first, float weight) const {
        float *__restrict const k = space.k, *__restrict const sum = space.sum;
        const float* __restrict const previous = space.previous;
        if (is_first) {
            read(from, k);
            std::copy_n(k, head_dim_, sum);
            return;
        }
        for (long i = 0; i < head_dim_; ++i) {
            k[i] = as_real(from[i]);
            sum[i] = k[i] + weight * previous[i];
        }
    }

    float inverse_length(const float* sum) const {
        return 1 / std::sqrt(dot<float>(sum, sum, head_dim_) + float(problem_.epsilon));
    }

    // The gradient of the unit vector, projected onto the plane across it and divided by the sum's length.
    void differentiate_unit(const Element* __restrict gradient, const float* __restrict sum,
                            float* __restrict d_sum) const {
        const float inverse = inverse_length(sum);
        const float along = dot<float>(gradient, sum, head_dim_) * inverse * inverse;
        for (long i = 0; i < head_dim_; ++i) d_sum[i] = (as_real(gradient[i]) - sum[i] * along) * inverse;
    }

    void write(Element* __restrict to, const float* __restrict from, float factor) const {
        for (long i = 0; i < head_dim_; ++i) assign(to[i], from[i] * factor);
    }

    void write_sum(const float* __restrict d_own, const float* __restrict d_next, float weight,
                   Element* __restrict to) const {
        for (long i = 0; i < head_dim_; ++i) assign(to[i], d_own[i] + weight * d_next[i]);
    }

    const PredecessorKeys& problem_;
    const long head_dim_, tasks_of_row_;
    Buffer<Element> d_following_;  // [rows, tasks_of_row, head_dim], the gradient of the first token after each task
    Buffer<double> d_weights_;     // [rows, tasks_of_row]
    std::vector<Space> spaces_;
};
