// The backward pass: weights are computed again from the saved log-sum-exp.
#pragma once

#include "block.hpp"
#include "work.hpp"

template <class Input, class Real>
class Backward {
    static constexpr int n = lanes<Real>;
    static constexpr long chunk = 4096;  // tokens of a task that works in token order

   public:
    explicit Backward(const Problem& problem)
        : problem_(problem),
          work_(problem),
          head_dim_(problem.head_dim),
          chunks_((problem.tokens + chunk - 1) / chunk),
          delta_(work_.group * problem.queries),
          partial_(work_.group * chunks_),
          d_q_(problem.d_q, work_.group * problem.queries * head_dim_),
          d_k_(problem.d_k, work_.group * problem.tokens * head_dim_),
          d_v_(problem.d_v, work_.group * problem.tokens * head_dim_),
          boundary_first_(work_.group * work_.segments),
          boundary_(work_.segments > 1 ? work_.group * work_.segments * problem.window * 2 * head_dim_ : 0) {
        for (long thread = 0; thread < problem.threads; ++thread) spaces_.emplace_back(problem);
    }

    void run() {
        work_.for_each_group([&](long first_row, long rows) {
            in_token_order(first_row, rows, problem_.d_sink, [&](long row, long i, long first, long stop) {
                return load_delta(row, i, first, stop);
            });
            for (long round = 0; round < problem_.rounds; ++round) {
                const auto scene = [&](long task) {
                    const long i = task / work_.segments;
                    return Scene{problem_, work_.order(i), first_row + i, round};
                };
                parallel(problem_.threads, rows * work_.segments, [&](long thread, long task) {
                    segment(spaces_[thread], scene(task), task);
                });
                parallel(problem_.threads, rows * work_.segments, [&](long, long task) {
                    add_boundary(scene(task), task);
                });
            }
            in_token_order(first_row, rows, problem_.d_scale, [&](long row, long i, long first, long stop) {
                return finish(row, i, first, stop);
            });
        });
    }

   private:
    // The sum over the rounds of a gradient, in token order: in the result itself where that has the precision.
    class Total {
       public:
        Total(const Tensor& result, long size)
            : result_(result), total_(std::is_same_v<Input, Real> ? 0 : size) {}

        Real* row(const Problem& problem, long row, long row_in_group, long tokens, long token) {
            if constexpr (std::is_same_v<Input, Real>) return row_of<Input>(result_, row, token);
            return &total_[(row_in_group * tokens + token) * problem.head_dim];
        }

       private:
        Tensor result_;
        Buffer<Real> total_;
    };

    // Where a thread works.
    struct Workspace {
        Block<Input, Real> block;
        Buffer<Real> weights, d_logits, q, q_transposed, d_out, d_out_transposed, d_q, log_sum_exp, delta;
        long retired = 0;  // the first place whose gradients have not left the packed keys

        explicit Workspace(const Problem& problem)
            : block(problem, true),
              weights(block.pairs()),
              d_logits(block.pairs()),
              q(block.queries()),
              q_transposed(block.queries()),
              d_out(block.queries()),
              d_out_transposed(block.queries()),
              d_q(block.queries()),
              log_sum_exp(block.stride),
              delta(block.stride) {}
    };

    // Calls work(row, row in group, first, stop) for chunks of tokens, and stores each row's sum of what it returns.
    template <class OfChunk>
    void in_token_order(long first_row, long rows, void* sums, const OfChunk& work) {
        parallel(problem_.threads, rows * chunks_, [&](long, long task) {
            const long i = task / chunks_, first = task % chunks_ * chunk;
            partial_[task] = work(first_row + i, i, first, first + chunk);
        });
        if (!sums) return;
        for (long i = 0; i < rows; ++i) {
            double sum = 0;
            for (long c = 0; c < chunks_; ++c) sum += partial_[i * chunks_ + c];
            static_cast<Real*>(sums)[first_row + i] = Real(sum);
        }
    }

    // delta = <d_out, out> of each query; returns their share in the gradient of the sink.
    double load_delta(long row, long i, long first, long stop) {
        double d_sink = 0;
        for (long query = first; query < std::min(stop, long(problem_.queries)); ++query) {
            const Input* const d_out = row_of<Input>(problem_.d_out, row, query);
            const Real delta = dot<Real>(d_out, row_of<Input>(problem_.out, row, query), head_dim_);
            delta_[i * problem_.queries + query] = delta;
            if (problem_.sink) {
                const Real sink = static_cast<const Real*>(problem_.sink)[row];
                d_sink -= std::exp(sink - log_sum_exp(row, query)) * delta;
            }
        }
        return d_sink;
    }

    // Converts the sums over the rounds; returns the queries' share in the gradient of the scale.
    double finish(long row, long i, long first, long stop) {
        double d_scale = 0;
        const Real scale = static_cast<const Real*>(problem_.scale)[row];
        for (long query = first; query < std::min(stop, long(problem_.queries)); ++query) {
            Real* const total = d_q_.row(problem_, row, i, problem_.queries, query);
            d_scale += dot<Real>(row_of<Input>(problem_.q, row, query), total, head_dim_);
            Input* const result = row_of<Input>(problem_.d_q, row, query);
            for (long d = 0; d < head_dim_; ++d) assign(result[d], total[d] * scale);
        }
        if (!std::is_same_v<Input, Real>)
            for (long token = first; token < std::min(stop, long(problem_.tokens)); ++token)
                for (const auto& [total, result] : {std::pair{&d_k_, &problem_.d_k}, std::pair{&d_v_, &problem_.d_v}}) {
                    const Real* const from = total->row(problem_, row, i, problem_.tokens, token);
                    Input* const to = row_of<Input>(*result, row, token);
                    for (long d = 0; d < head_dim_; ++d) assign(to[d], from[d]);
                }
        return d_scale;
    }

    void segment(Workspace& space, const Scene& scene, long task) {
        const long i = task / work_.segments, segment_start = task % work_.segments * work_.segment;
        const long stop = std::min(segment_start + work_.segment, long(problem_.tokens));
        const Real scale = static_cast<const Real*>(problem_.scale)[scene.row];
        Block<Input, Real>& block = space.block;
        Keys<Input, Real>& keys = block.keys;
        keys.clear();
        space.retired = boundary_first_[task] = segment_start;
        bool any = false;
        for (long start = segment_start; start < stop; start += problem_.block) {
            if (!block.advance(scene, start, std::min(start + long(problem_.block), stop))) continue;
            const long first = scene.lowest(start);
            if (!any) space.retired = boundary_first_[task] = std::min(first, segment_start);
            any = true;
            retire(space, scene, task, segment_start, first);
            block.load_keys(scene);
            look_ahead(space, scene, i, stop);
            block.load_queries(scene, problem_.q, scale, space.q, space.q_transposed);
            block.load_queries(scene, problem_.d_out, Real(1), space.d_out, space.d_out_transposed);
            load_scalars(space, scene, i);
            block.products(keys.k, space.q_transposed, space.weights);
            block.products(keys.v, space.d_out_transposed, space.d_logits);
            differentiate(space);
            block.add_over_queries(space.weights, space.d_out, keys.d_v);
            block.add_over_queries(space.d_logits, space.q, keys.d_k);
            block.sum_over_keys(space.d_logits, keys.k, space.d_q);
            for (long j = 0; j < block.size(); ++j) {
                const int64_t query = scene.query(scene.token()[start + j]);
                if (query < 0) continue;
                Real* const total = d_q_.row(problem_, scene.row, i, problem_.queries, query);
                join(total, &space.d_q[j * block.head_stride], scene.round == 0);
            }
        }
        retire(space, scene, task, segment_start, stop);
    }

    void look_ahead(Workspace& space, const Scene& scene, long i, long segment_stop) {
        Block<Input, Real>& block = space.block;
        const long head_dim = head_dim_, queries = problem_.queries, tokens = problem_.tokens, row = scene.row;
        block.look_ahead(scene, segment_stop, [&](long query) {
            block.ahead.add(row_of<Input>(problem_.d_out, row, query), head_dim);
            block.ahead.add(d_q_.row(problem_, row, i, queries, query), head_dim);
            block.ahead.add(static_cast<const Real*>(problem_.log_sum_exp) + row * queries + query, 1);
            block.ahead.add(&delta_[i * queries + query], 1);
        });
        const long retiring = block.stop < segment_stop ? scene.lowest(block.stop) : segment_stop;
        for (long place = std::max(space.retired, long(0)); place < retiring; ++place) {
            const int64_t position = scene.token()[place];
            block.ahead.add(d_k_.row(problem_, row, i, tokens, position), head_dim);
            block.ahead.add(d_v_.row(problem_, row, i, tokens, position), head_dim);
        }
        block.ahead.spread(2 * block.keys.size() / key_rows + (2 * block.keys.size() + block.stride) / head_rows);
    }

    void load_scalars(Workspace& space, const Scene& scene, long i) const {
        const Block<Input, Real>& block = space.block;
        for (long j = 0; j < block.stride; ++j) {
            const int64_t query = j < block.size() ? scene.query(scene.token()[block.start + j]) : -1;
            space.log_sum_exp[j] =
                query < 0 ? std::numeric_limits<Real>::infinity() : log_sum_exp(scene.row, query);
            space.delta[j] = query < 0 ? 0 : delta_[i * problem_.queries + query];
        }
    }

    // Turns logits and the gradients of the weights into weights and the gradients of the logits.
    void differentiate(Workspace& space) const {
        const Block<Input, Real>& block = space.block;
        for (long vector = 0; vector < block.vectors(); ++vector) {
            const auto log_sum_exp = load<Vector<Real>>(&space.log_sum_exp[vector * n]);
            const auto delta = load<Vector<Real>>(&space.delta[vector * n]);
            for (long key = block.begin(vector); key < block.end(vector); ++key) {
                const long at = key * block.stride + vector * n;
                const auto logit = load<Vector<Real>>(&space.weights[at]);
                const auto d_weight = load<Vector<Real>>(&space.d_logits[at]);
                const Vector<Real> found = exponential<Real>(logit - log_sum_exp);
                const Vector<Real> weight = block.visible(key, vector) ? found : Vector<Real>{};
                store(&space.weights[at], weight);
                store(&space.d_logits[at], weight * (d_weight - delta));
            }
        }
    }

    // Hands over the gradients of the keys at places before `until`, which no later block of the segment sees: to the
    // totals, or to the boundary where the keys belong to an earlier segment.
    void retire(Workspace& space, const Scene& scene, long task, long segment_start, long until) {
        const Keys<Input, Real>& keys = space.block.keys;
        const long i = task / work_.segments;
        for (long place = space.retired; place < until; ++place) {
            const bool packed = keys.first <= place && place < keys.last;
            const Real* const d_k = &keys.d_k[(place - keys.first) * keys.stride];
            const Real* const d_v = &keys.d_v[(place - keys.first) * keys.stride];
            if (place < segment_start) {
                Real* const boundary = boundary_row(task, place);
                std::copy_n(d_k, head_dim_, boundary);
                std::copy_n(d_v, head_dim_, boundary + head_dim_);
            } else if (packed || scene.round == 0) {
                const int64_t token = scene.token()[place];
                const bool first = scene.round == 0;
                join(d_k_.row(problem_, scene.row, i, problem_.tokens, token), packed ? d_k : nullptr, first);
                join(d_v_.row(problem_, scene.row, i, problem_.tokens, token), packed ? d_v : nullptr, first);
            }
        }
        space.retired = std::max(space.retired, until);
    }

    // Adds what the blocks of a segment found for the keys just before it; by now their own segment has added its part.
    void add_boundary(const Scene& scene, long task) {
        const long i = task / work_.segments, segment_start = task % work_.segments * work_.segment;
        for (long place = boundary_first_[task]; place < segment_start; ++place) {
            const int64_t token = scene.token()[place];
            const Real* const boundary = boundary_row(task, place);
            join(d_k_.row(problem_, scene.row, i, problem_.tokens, token), boundary, false);
            join(d_v_.row(problem_, scene.row, i, problem_.tokens, token), boundary + head_dim_, false);
        }
    }

    // The first part of a total, or one more; no part: zero.
    void join(Real* total, const Real* part, bool first) const {
        if (!part)
            std::fill_n(total, head_dim_, Real(0));
        else if (first)
            std::copy_n(part, head_dim_, total);
        else
            for (long d = 0; d < head_dim_; ++d) total[d] += part[d];
    }

    // A key's gradients, k's and then v's, by its place in the window before the segment.
    Real* boundary_row(long task, long place) {
        const long segment_start = task % work_.segments * work_.segment;
        const long window = problem_.window;
        return &boundary_[(task * window + place - (segment_start - window)) * 2 * head_dim_];
    }

    Real log_sum_exp(long row, long query) const {
        return static_cast<const Real*>(problem_.log_sum_exp)[row * problem_.queries + query];
    }

    const Problem& problem_;
    Work work_;
    const long head_dim_, chunks_;
    Buffer<Real> delta_;
    Buffer<double> partial_;
    Total d_q_, d_k_, d_v_;
    // Of each segment: the first place before it that its queries see, and the gradients of those keys.
    Buffer<long> boundary_first_;
    Buffer<Real> boundary_;
    std::vector<Workspace> spaces_;
};
