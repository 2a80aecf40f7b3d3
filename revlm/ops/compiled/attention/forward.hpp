// The forward pass, which merges each round's softmax into the result of the earlier rounds.
#pragma once

#include "block.hpp"
#include "work.hpp"

template <class Input, class Real>
class Forward {
    static constexpr int n = lanes<Real>;
    using Operand = typename Operands<Input, Real>::Element;

   public:
    explicit Forward(const Problem& problem)
        : problem_(problem),
          work_(problem),
          k_(problem, problem.k, problem.tokens, records_, problem.rounds > 1),
          v_(problem, problem.v, problem.tokens, records_, problem.rounds > 1),
          own_q_(problem, problem.q, problem.queries, records_, problem.rounds > 1 && !problem.queries_are_keys()),
          q_(problem.queries_are_keys() ? k_ : own_q_),
          total_(problem, problem.out, problem.queries, records_, problem.rounds > 1),
          maximum_(work_.group * problem.queries),
          weight_sum_(work_.group * problem.queries) {
        records_.allocate(work_.group, problem.tokens);
        for (long thread = 0; thread < problem.threads; ++thread) spaces_.emplace_back(problem);
    }

    void run() {
        work_.for_each_group([&](long first_row, long rows) {
            if (k_.in_records())
                work_.for_each_segment(rows, [&](long, const Segment& segment) {
                    for (const auto* field : {&k_, &v_, &own_q_})
                        field->load(first_row + segment.i, segment.i, segment.start, segment.stop);
                });
            for (long round = 0; round < problem_.rounds; ++round)
                work_.for_each_segment(rows, [&](long thread, const Segment& segment) {
                    const long i = segment.i, row = first_row + i;
                    attend(spaces_[thread], segment,
                           {problem_, work_.order(i), k_.rows(row, i), v_.rows(row, i), q_.rows(row, i), row, round});
                });
        });
    }

   private:
    // The buffers of a thread.
    struct Workspace {
        Block<Input, Real> block;
        Queries<Operand> q;
        Buffer<Real> pairs, out, maximum, weight_sum;

        explicit Workspace(const Problem& problem)
            : block(problem, Need::values),
              q(block.queries(Need::values)),
              pairs(block.pairs()),
              out(block.sums()),
              maximum(block.stride),
              weight_sum(block.stride) {}
    };

    void attend(Workspace& space, const Segment& segment, const Scene<Input>& scene) {
        Block<Input, Real>& block = space.block;
        const Real scale = static_cast<const Real*>(problem_.scale)[scene.row];
        block.keys.clear();
        for (long start = segment.start; start < segment.stop; start += problem_.block) {
            if (!block.advance(scene, start, std::min(start + long(problem_.block), segment.stop))) continue;
            block.load_keys(scene);
            prefetch_next(space, segment, scene);
            block.load_queries(scene, scene.q, scale, Need::values, space.q);
            block.products(block.keys.k, space.q, space.pairs);
            softmax(space, scale);
            block.sum_over_keys(weights(space), space.out);
            for (long j = 0; j < block.size(); ++j) {
                const int64_t query = scene.query(scene.token()[start + j]);
                if (query >= 0) join(space, segment.i, scene, j, query);
            }
        }
    }

    void prefetch_next(Workspace& space, const Segment& segment, const Scene<Input>& scene) {
        Prefetcher& prefetcher = space.block.prefetcher;
        const Rows<Real> total = total_.rows(scene.row, segment.i);
        const Rows<Input> out = tokens_of<Input>(problem_.out, scene.row);
        const bool last = scene.round == problem_.rounds - 1;
        space.block.prefetch_next(scene, segment.stop, [&](long position, long query) {
            const long index = segment.i * problem_.queries + query;
            prefetcher.add(scene.k[position], problem_.head_dim);
            prefetcher.add(scene.v[position], problem_.head_dim);
            if (query < 0) return;
            if (!problem_.queries_are_keys()) prefetcher.add(scene.q[query], problem_.head_dim);
            if (total_.in_records()) prefetcher.add(total[query], problem_.head_dim);
            if (last) prefetcher.add(out[query], problem_.head_dim);
            prefetcher.add(&maximum_[index], 1);
            prefetcher.add(&weight_sum_[index], 1);
        });
    }

    // Replaces logits by weights that are not yet divided by their sum, as operands of sums over keys.
    void softmax(Workspace& space, Real scale) const {
        const Block<Input, Real>& block = space.block;
        for (long vector = 0; vector < block.vectors(); ++vector) {
            Real* const logits = &space.pairs[vector * n];
            const long begin = block.begin(vector), end = block.end(vector), stride = block.stride;
            const auto visible = block.visibility(vector);
            // Finite, so that -inf minus the maximum is not NaN where a query sees no key.
            Vector<Real> maximum = Vector<Real>{} + std::numeric_limits<Real>::lowest();
            for (long key = begin; key < end; ++key) {
                const auto nothing = Vector<Real>{} - std::numeric_limits<Real>::infinity();
                auto found = load<Vector<Real>>(logits + key * stride);
                if constexpr (!Block<Input, Real>::scales_queries) found *= scale;
                const Vector<Real> logit = chosen(visible(key), found, nothing);
                store(logits + key * stride, logit);
                maximum = logit > maximum ? logit : maximum;
            }
            Vector<Real> sum{};
            const auto weight = [&](long key) {
                const auto logit = load<Vector<Real>>(logits + key * stride);
                const Vector<Real> weight = exponential<Real>(logit - maximum);
                sum += weight;
                return weight;
            };
            if constexpr (Block<Input, Real>::numbers > 1) {
                for (long key = begin; key < end; key += 2) {
                    const Vector<Real> even = weight(key), odd = weight(key + 1);
                    store(logits + key / 2 * stride, lanes_paired(rounded(even, odd)));
                }
            } else {
                for (long key = begin; key < end; ++key)
                    store(logits + key * stride, weight(key));
            }
            store(&space.maximum[vector * n], maximum);
            store(&space.weight_sum[vector * n], sum);
        }
    }

    // The weights where `softmax` left them.
    static const Operand* weights(Workspace& space) { return reinterpret_cast<const Operand*>(&space.pairs[0]); }

    // Merges a query's result of one round into that of the earlier rounds; the last round adds the sink and writes out.
    void join(const Workspace& space, long row_in_group, const Scene<Input>& scene, long j, int64_t query) {
        const long index = row_in_group * problem_.queries + query;
        Real maximum = space.maximum[j], sum = space.weight_sum[j], old_factor = 0, new_factor = 1;
        if (scene.round > 0) {
            const Real larger = std::max(maximum, maximum_[index]);
            old_factor = std::exp(maximum_[index] - larger);
            new_factor = std::exp(maximum - larger);
            maximum = larger;
            sum = weight_sum_[index] * old_factor + sum * new_factor;
        }
        maximum_[index] = maximum;
        weight_sum_[index] = sum;
        const bool first = scene.round == 0, last = scene.round == problem_.rounds - 1;
        if (last) {
            const Real share = share_beside_sink(scene.row, query, maximum, sum);
            old_factor *= share;
            new_factor *= share;
        }
        const long head_dim = problem_.head_dim;
        const Real* const found = &space.out[j * space.block.head_stride];
        Input* const out = tokens_of<Input>(problem_.out, scene.row)[query];
        if (first && last) {
            for (long d = 0; d < head_dim; ++d) assign(out[d], found[d] * new_factor);
            return;
        }
        Real* const total = total_.rows(scene.row, row_in_group)[query];
        if (first)
            std::copy_n(found, head_dim, total);
        else if (last)
            for (long d = 0; d < head_dim; ++d) assign(out[d], total[d] * old_factor + found[d] * new_factor);
        else
            for (long d = 0; d < head_dim; ++d) total[d] = total[d] * old_factor + found[d] * new_factor;
    }

    // Writes the log-sum-exp of a query; returns the factor for its sum of values, weighted by exp(logit - maximum). The
    // output is zero without visible keys.
    Real share_beside_sink(long row, long query, Real maximum, Real sum) const {
        constexpr Real infinity = std::numeric_limits<Real>::infinity();
        const Real sink = problem_.sink ? static_cast<const Real*>(problem_.sink)[row] : -infinity;
        const Real larger = std::max(maximum, sink), factor = std::exp(maximum - larger);
        const Real denominator = sum * factor + std::exp(sink - larger);
        static_cast<Real*>(problem_.log_sum_exp)[row * problem_.queries + query] =
            denominator == 0 ? infinity : larger + std::log(denominator);
        return denominator == 0 ? 0 : factor / denominator;
    }

    const Problem& problem_;
    Work work_;
    Records records_;
    Field<Input> k_, v_, own_q_;
    const Field<Input>& q_;
    Field<Real> total_;
    // Per query of a group of rows, over the rounds so far.
    Buffer<Real> maximum_, weight_sum_;
    std::vector<Workspace> spaces_;
};
