// The forward pass: each round's softmax joins the results of the rounds before it.
#pragma once

#include "block.hpp"
#include "work.hpp"

template <class Input, class Real>
class Forward {
    static constexpr int n = lanes<Real>;
    static constexpr bool out_is_real = std::is_same_v<Input, Real>;

   public:
    explicit Forward(const Problem& problem) : problem_(problem), work_(problem) {
        const long queries = work_.group * problem.queries;
        maximum_ = Buffer<Real>(queries);
        weight_sum_ = Buffer<Real>(queries);
        if (!out_is_real) total_ = Buffer<Real>(queries * problem.head_dim);
        for (long thread = 0; thread < problem.threads; ++thread) spaces_.emplace_back(problem);
    }

    void run() {
        work_.for_each_group([&](long first_row, long rows) {
            for (long round = 0; round < problem_.rounds; ++round)
                parallel(problem_.threads, rows * work_.segments, [&](long thread, long task) {
                    const long i = task / work_.segments;
                    const Scene scene{problem_, work_.order(i), first_row + i, round};
                    segment(spaces_[thread], scene, i, task % work_.segments);
                });
        });
    }

   private:
    // Where a thread works.
    struct Workspace {
        Block<Input, Real> block;
        Buffer<Real> pairs, q, q_transposed, out, maximum, weight_sum;

        explicit Workspace(const Problem& problem)
            : block(problem, false),
              pairs(block.pairs()),
              q(block.queries()),
              q_transposed(block.queries()),
              out(block.queries()),
              maximum(block.stride),
              weight_sum(block.stride) {}
    };

    void segment(Workspace& space, const Scene& scene, long row_in_group, long number) {
        const long stop = std::min((number + 1) * work_.segment, long(problem_.tokens));
        Block<Input, Real>& block = space.block;
        block.keys.clear();
        for (long start = number * work_.segment; start < stop; start += problem_.block) {
            if (!block.advance(scene, start, std::min(start + long(problem_.block), stop))) continue;
            block.load_keys(scene);
            block.look_ahead(scene, stop, [&](long query) {
                const long index = row_in_group * problem_.queries + query;
                block.ahead.add(&maximum_[index], 1);
                block.ahead.add(&weight_sum_[index], 1);
                block.ahead.add(total(scene.row, query, index), problem_.head_dim);
            });
            block.ahead.spread(block.keys.size() / key_rows + block.stride / head_rows);
            const Real scale = static_cast<const Real*>(problem_.scale)[scene.row];
            block.load_queries(scene, problem_.q, scale, space.q, space.q_transposed);
            block.products(block.keys.k, space.q_transposed, space.pairs);
            softmax(space);
            block.sum_over_keys(space.pairs, block.keys.v, space.out);
            for (long i = 0; i < block.size(); ++i) {
                const int64_t query = scene.query(scene.token()[start + i]);
                if (query >= 0) join(space, scene, row_in_group, i, query);
            }
        }
    }

    // Turns logits into weights, not yet divided by their sum.
    void softmax(Workspace& space) const {
        const Block<Input, Real>& block = space.block;
        for (long vector = 0; vector < block.vectors(); ++vector) {
            Real* const logits = &space.pairs[vector * n];
            // Finite, so that -inf less the maximum is no NaN where a query sees nothing.
            Vector<Real> maximum = Vector<Real>{} + std::numeric_limits<Real>::lowest();
            for (long key = block.begin(vector); key < block.end(vector); ++key) {
                const auto nothing = Vector<Real>{} - std::numeric_limits<Real>::infinity();
                const auto found = load<Vector<Real>>(logits + key * block.stride);
                const Vector<Real> logit = block.visible(key, vector) ? found : nothing;
                store(logits + key * block.stride, logit);
                maximum = logit > maximum ? logit : maximum;
            }
            Vector<Real> sum{};
            for (long key = block.begin(vector); key < block.end(vector); ++key) {
                const auto logit = load<Vector<Real>>(logits + key * block.stride);
                const Vector<Real> weight = exponential<Real>(logit - maximum);
                store(logits + key * block.stride, weight);
                sum += weight;
            }
            store(&space.maximum[vector * n], maximum);
            store(&space.weight_sum[vector * n], sum);
        }
    }

    // Joins a query's result of one round to those of the rounds before; the last round brings the sink and the end.
    void join(const Workspace& space, const Scene& scene, long row_in_group, long i, int64_t query) {
        const long index = row_in_group * problem_.queries + query;
        Real maximum = space.maximum[i], sum = space.weight_sum[i], old_factor = 0, new_factor = 1;
        if (scene.round > 0) {
            const Real larger = std::max(maximum, maximum_[index]);
            old_factor = std::exp(maximum_[index] - larger);
            new_factor = std::exp(maximum - larger);
            maximum = larger;
            sum = weight_sum_[index] * old_factor + sum * new_factor;
        }
        maximum_[index] = maximum;
        weight_sum_[index] = sum;
        if (scene.round == problem_.rounds - 1) {
            const Real sink = problem_.sink ? static_cast<const Real*>(problem_.sink)[scene.row]
                                            : -std::numeric_limits<Real>::infinity();
            const Real larger = std::max(maximum, sink), factor = std::exp(maximum - larger);
            const Real denominator = sum * factor + std::exp(sink - larger);
            static_cast<Real*>(problem_.log_sum_exp)[scene.row * problem_.queries + query] =
                denominator == 0 ? std::numeric_limits<Real>::infinity() : larger + std::log(denominator);
            const Real share = denominator == 0 ? 0 : factor / denominator;
            old_factor *= share;
            new_factor *= share;
        }
        const Real* const found = &space.out[i * space.block.head_stride];
        Input* const out = row_of<Input>(problem_.out, scene.row, query);
        Real* const total = this->total(scene.row, query, index);
        if (scene.round == 0)
            for (long d = 0; d < problem_.head_dim; ++d) total[d] = found[d] * new_factor;
        else
            for (long d = 0; d < problem_.head_dim; ++d) total[d] = total[d] * old_factor + found[d] * new_factor;
        if (!out_is_real && scene.round == problem_.rounds - 1)
            for (long d = 0; d < problem_.head_dim; ++d) assign(out[d], total[d]);
    }

    // The sum of a query's results over the rounds so far: in the output itself where that has the precision.
    Real* total(long row, long query, long index) {
        if constexpr (out_is_real) return row_of<Input>(problem_.out, row, query);
        return &total_[index * problem_.head_dim];
    }

    const Problem& problem_;
    Work work_;
    // Of each query of a group of rows, over the rounds so far.
    Buffer<Real> maximum_, weight_sum_, total_;
    std::vector<Workspace> spaces_;
};
