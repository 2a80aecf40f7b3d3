// The backward pass, which recomputes the weights from the saved log-sum-exp.
#pragma once

#include <numeric>

#include "block.hpp"
#include "work.hpp"

template <class Input, class Real>
class Backward {
    static constexpr int n = lanes<Real>;
    using Operand = typename Operands<Input, Real>::Element;

   public:
    explicit Backward(const Problem& problem)
        : problem_(problem),
          work_(problem),
          head_dim_(problem.head_dim),
          k_(problem, problem.k, problem.tokens, records_, problem.rounds > 1),
          v_(problem, problem.v, problem.tokens, records_, problem.rounds > 1),
          own_q_(problem, problem.q, problem.queries, records_, problem.rounds > 1 && !problem.queries_are_keys()),
          q_(problem.queries_are_keys() ? k_ : own_q_),
          d_out_(problem, problem.d_out, problem.queries, records_, problem.rounds > 1),
          // Sums of higher precision than the result are held in records, too.
          d_k_(problem, problem.d_k, problem.tokens, records_, problem.rounds > 1 || !std::is_same_v<Input, Real>),
          d_v_(problem, problem.d_v, problem.tokens, records_, d_k_.in_records()),
          own_d_q_(problem, problem.d_q, problem.queries, records_, d_k_.in_records() && !problem.queries_are_keys()),
          d_q_(problem.queries_are_keys() ? d_k_ : own_d_q_),
          saved_(work_.group * problem.queries),
          d_sink_(work_.group * work_.segments),
          d_scale_(work_.group * work_.segments),
          boundary_first_(work_.group * work_.segments),
          boundary_(work_.segments > 1 ? work_.group * work_.segments * problem.window * 2 * head_dim_ : 0) {
        records_.allocate(work_.group, problem.tokens);
        for (long thread = 0; thread < problem.threads; ++thread) spaces_.emplace_back(problem);
    }

    void run() {
        work_.for_each_group([&](long first_row, long rows) {
            work_.for_each_segment(rows, [&](long, const Segment& segment) { prepare(segment, first_row + segment.i); });
            for (long round = 0; round < problem_.rounds; ++round) {
                const auto scene = [&](long i) -> Scene<Input> {
                    const long row = first_row + i;
                    return {problem_, work_.order(i), k_.rows(row, i), v_.rows(row, i), q_.rows(row, i), row, round};
                };
                work_.for_each_segment(rows, [&](long thread, const Segment& segment) {
                    attend(spaces_[thread], segment, scene(segment.i));
                });
                work_.for_each_segment(
                    rows, [&](long, const Segment& segment) { add_boundary(segment, scene(segment.i)); });
            }
            work_.for_each_segment(rows, [&](long, const Segment& segment) { finish(segment, first_row + segment.i); });
            sum_shares(first_row, rows, d_scale_, problem_.d_scale);
            if (problem_.d_sink) sum_shares(first_row, rows, d_sink_, problem_.d_sink);
        });
    }

   private:
    // Per query: the log-sum-exp of the forward pass, and delta = <d_out, out>.
    struct Saved {
        Real log_sum_exp, delta;
    };

    // The buffers of a thread.
    struct Workspace {
        Block<Input, Real> block;
        Queries<Operand> q, d_out;
        Buffer<Real> weights, d_logits, d_q, log_sum_exp, delta, d_scale;
        // Weights and gradients of logits as operands of sums over queries, where they are not those numbers themselves.
        Buffer<Operand> paired_weights, paired_d_logits;
        long retired = 0;  // the first place whose gradients are still in the packed keys

        explicit Workspace(const Problem& problem)
            : block(problem, Need::gradients),
              q(block.queries(Need::gradients)),
              d_out(block.queries(Need::gradients)),
              weights(block.pairs()),
              d_logits(block.pairs()),
              d_q(block.sums()),
              log_sum_exp(block.stride),
              delta(block.stride),
              d_scale(block.stride),
              paired_weights(block.paired_queries()),
              paired_d_logits(block.paired_queries()) {}
    };

    // Copies the inputs to records, computes `saved_` and the segment's part of the sink's gradient, and zeroes all sums.
    void prepare(const Segment& segment, long row) {
        for (const auto* field : {&k_, &v_, &own_q_, &d_out_}) field->load(row, segment.i, segment.start, segment.stop);
        for (const auto* field : {&d_k_, &d_v_})
            for (long token = segment.start; token < segment.stop; ++token)
                std::fill_n(field->rows(row, segment.i)[token], head_dim_, Real(0));
        if (!problem_.queries_are_keys())
            for (long query = first_query(segment); query < last_query(segment); ++query)
                std::fill_n(d_q_.rows(row, segment.i)[query], head_dim_, Real(0));
        const Rows<Input> d_out = tokens_of<Input>(problem_.d_out, row), out = tokens_of<Input>(problem_.out, row);
        const Real* const given = static_cast<const Real*>(problem_.delta);
        const Real* const log_sum_exp = static_cast<const Real*>(problem_.log_sum_exp) + row * problem_.queries;
        double d_sink = 0;
        for (long query = first_query(segment); query < last_query(segment); ++query) {
            const Real delta = given ? given[row * problem_.queries + query] : dot<Real>(d_out[query], out[query], head_dim_);
            saved_[segment.i * problem_.queries + query] = {log_sum_exp[query], delta};
            if (!problem_.sink) continue;
            d_sink -= std::exp(static_cast<const Real*>(problem_.sink)[row] - log_sum_exp[query]) * delta;
        }
        d_sink_[segment.task] = d_sink;
        d_scale_[segment.task] = 0;
    }

    // Writes the gradients from their sums over the rounds. No input of the row is read after this, so gradients may
    // overwrite inputs.
    void finish(const Segment& segment, long row) const {
        write(d_k_, problem_.d_k, segment, row, segment.start, segment.stop);
        write(d_v_, problem_.d_v, segment, row, segment.start, segment.stop);
        if (!problem_.queries_are_keys())
            write(own_d_q_, problem_.d_q, segment, row, first_query(segment), last_query(segment));
    }

    void write(const Field<Real>& field, const Tensor& tensor, const Segment& segment, long row, long first,
               long stop) const {
        if (!field.in_records()) return;
        const Rows<Real> from = field.rows(row, segment.i);
        const Rows<Input> to = tokens_of<Input>(tensor, row);
        for (long token = first; token < stop; ++token)
            for (long d = 0; d < head_dim_; ++d) assign(to[token][d], from[token][d]);
    }

    long first_query(const Segment& segment) const {
        return std::max(segment.start - long(problem_.tokens - problem_.queries), 0L);
    }
    long last_query(const Segment& segment) const { return segment.stop - (problem_.tokens - problem_.queries); }

    // Sums the parts of each row's segments, in order.
    void sum_shares(long first_row, long rows, const double* shares, void* sums) const {
        for (long i = 0; i < rows; ++i) {
            const double* const of_row = shares + i * work_.segments;
            static_cast<Real*>(sums)[first_row + i] = Real(std::accumulate(of_row, of_row + work_.segments, 0.0));
        }
    }

    void attend(Workspace& space, const Segment& segment, const Scene<Input>& scene) {
        const Real scale = static_cast<const Real*>(problem_.scale)[scene.row];
        const Rows<Input> d_out = d_out_.rows(scene.row, segment.i);
        const Rows<Real> d_q = d_q_.rows(scene.row, segment.i);
        Block<Input, Real>& block = space.block;
        Keys<Input, Real>& keys = block.keys;
        keys.clear();
        space.retired = boundary_first_[segment.task] = segment.start;
        bool any = false;
        for (long start = segment.start; start < segment.stop; start += problem_.block) {
            if (!block.advance(scene, start, std::min(start + long(problem_.block), segment.stop))) continue;
            const long first = scene.lowest(start);
            if (!any) space.retired = boundary_first_[segment.task] = std::min(first, segment.start);
            any = true;
            retire(space, segment, scene, first);
            block.load_keys(scene);
            prefetch_next(space, segment, scene);
            block.load_queries(scene, scene.q, scale, Need::gradients, space.q);
            block.load_queries(scene, d_out, Real(1), Need::gradients, space.d_out);
            load_saved(space, segment.i, scene);
            block.products(keys.k, space.q, space.weights);
            block.products(keys.v, space.d_out, space.d_logits);
            differentiate(space, scale);
            block.add_over_queries(of_keys(space.paired_weights, space.weights), space.d_out, keys.d_v);
            block.add_over_queries(of_keys(space.paired_d_logits, space.d_logits), space.q, keys.d_k);
            block.sum_over_keys(reinterpret_cast<const Operand*>(&space.d_logits[0]), space.d_q);
            for (long j = 0; j < block.size(); ++j) {
                const int64_t query = scene.query(scene.token()[start + j]);
                if (query < 0) continue;
                const Real* const found = &space.d_q[j * block.head_stride];
                d_scale_[segment.task] +=
                    block.scales_queries ? dot<Real>(scene.q[query], found, head_dim_) : space.d_scale[j];
                join(d_q[query], found, scale);
            }
        }
        retire(space, segment, scene, segment.stop);
    }

    void prefetch_next(Workspace& space, const Segment& segment, const Scene<Input>& scene) {
        Block<Input, Real>& block = space.block;
        const long row = scene.row, i = segment.i;
        const Rows<Input> d_out = d_out_.rows(row, i);
        const Rows<Real> d_q = d_q_.rows(row, i), d_k = d_k_.rows(row, i), d_v = d_v_.rows(row, i);
        block.prefetch_next(scene, segment.stop, [&](long position, long query) {
            block.prefetcher.add(scene.k[position], head_dim_);
            block.prefetcher.add(scene.v[position], head_dim_);
            if (query >= 0) {
                block.prefetcher.add(d_out[query], head_dim_);
                if (!problem_.queries_are_keys()) {
                    block.prefetcher.add(scene.q[query], head_dim_);
                    block.prefetcher.add(d_q[query], head_dim_);
                }
            }
            block.prefetcher.add(d_k[position], head_dim_);
            block.prefetcher.add(d_v[position], head_dim_);
            if (query >= 0) block.prefetcher.add(&saved_[i * problem_.queries + query], 1);
        });
    }

    void load_saved(Workspace& space, long i, const Scene<Input>& scene) const {
        const Block<Input, Real>& block = space.block;
        for (long j = 0; j < block.stride; ++j) {
            const int64_t query = j < block.size() ? scene.query(scene.token()[block.start + j]) : -1;
            const Saved saved = query < 0 ? Saved{std::numeric_limits<Real>::infinity(), 0}
                                          : saved_[i * problem_.queries + query];
            space.log_sum_exp[j] = saved.log_sum_exp;
            space.delta[j] = saved.delta;
        }
    }

    // Replaces logits and the gradients of the weights by weights and the gradients of the logits, as operands. Where
    // queries are not scaled, the gradient of the scale is summed here, before gradients of logits are rounded.
    void differentiate(Workspace& space, Real scale) const {
        const Block<Input, Real>& block = space.block;
        for (long vector = 0; vector < block.vectors(); ++vector) {
            const auto log_sum_exp = load<Vector<Real>>(&space.log_sum_exp[vector * n]);
            const auto delta = load<Vector<Real>>(&space.delta[vector * n]);
            const long begin = block.begin(vector), end = block.end(vector), stride = block.stride;
            const auto visible = block.visibility(vector);
            Real* const logits = &space.weights[vector * n];
            Real* const d_weights = &space.d_logits[vector * n];
            Vector<Real> d_scale{};
            // The weights of a key, and the gradients of its logits.
            const auto found = [&](long key) -> std::pair<Vector<Real>, Vector<Real>> {
                const auto product = load<Vector<Real>>(logits + key * stride);
                const auto logit = Block<Input, Real>::scales_queries ? product : product * scale;
                const auto d_weight = load<Vector<Real>>(d_weights + key * stride);
                const Vector<Real> found = exponential<Real>(logit - log_sum_exp);
                const Vector<Real> weight = chosen(visible(key), found, Vector<Real>{});
                const Vector<Real> d_logit = weight * (d_weight - delta);
                if constexpr (!Block<Input, Real>::scales_queries) d_scale += d_logit * product;
                return {weight, d_logit};
            };
            if constexpr (Block<Input, Real>::numbers > 1) {
                for (long key = begin; key < end; key += 2) {
                    const auto [weight, d_logit] = found(key);
                    const auto [next_weight, next_d_logit] = found(key + 1);
                    const long at = (key * stride + vector * n) / 2;
                    store_halves(rounded(weight, next_weight), &space.paired_weights[at], stride / 2);
                    const auto d_logits = rounded(d_logit, next_d_logit);
                    store_halves(d_logits, &space.paired_d_logits[at], stride / 2);
                    store(d_weights + key / 2 * stride, lanes_paired(d_logits));
                }
            } else {
                for (long key = begin; key < end; ++key) {
                    const auto [weight, d_logit] = found(key);
                    store(logits + key * stride, weight);
                    store(d_weights + key * stride, d_logit);
                }
            }
            store(&space.d_scale[vector * n], d_scale);
        }
    }

    static const Operand* of_keys(const Buffer<Operand>& paired, const Buffer<Real>& numbers) {
        if constexpr (Block<Input, Real>::numbers > 1)
            return paired;
        else
            return numbers;
    }

    // Flushes the gradients of keys before place `until`, which no later block of the segment sees: to the sums, or to
    // the boundary where the keys belong to an earlier segment.
    void retire(Workspace& space, const Segment& segment, const Scene<Input>& scene, long until) {
        const Keys<Input, Real>& keys = space.block.keys;
        const Rows<Real> sum_k = d_k_.rows(scene.row, segment.i), sum_v = d_v_.rows(scene.row, segment.i);
        const Real scale = space.block.scales_queries ? 1 : static_cast<const Real*>(problem_.scale)[scene.row];
        for (long place = space.retired; place < until; ++place) {
            const bool packed = keys.first <= place && place < keys.last;
            const long at = (place - keys.first) * keys.stride;
            if (place < segment.start) {
                Real* const boundary = boundary_row(segment, place);
                for (long d = 0; d < head_dim_; ++d) boundary[d] = keys.d_k[at + d] * scale;
                std::copy_n(keys.d_v + at, head_dim_, boundary + head_dim_);
            } else if (packed) {
                const int64_t token = scene.token()[place];
                join(sum_k[token], keys.d_k + at, scale);
                join(sum_v[token], keys.d_v + at);
            }
        }
        space.retired = std::max(space.retired, until);
    }

    // Adds the segment's gradients of the keys just before it, after their own segment has added its part.
    void add_boundary(const Segment& segment, const Scene<Input>& scene) {
        const Rows<Real> sum_k = d_k_.rows(scene.row, segment.i), sum_v = d_v_.rows(scene.row, segment.i);
        for (long place = boundary_first_[segment.task]; place < segment.start; ++place) {
            const int64_t token = scene.token()[place];
            const Real* const boundary = boundary_row(segment, place);
            join(sum_k[token], boundary);
            join(sum_v[token], boundary + head_dim_);
        }
    }

    void join(Real* sum, const Real* part, Real factor = 1) const {
        for (long d = 0; d < head_dim_; ++d) sum[d] += part[d] * factor;
    }

    // The gradients of a key in the window before the segment: of k, then of v.
    Real* boundary_row(const Segment& segment, long place) {
        const long window = problem_.window;
        return &boundary_[(segment.task * window + place - (segment.start - window)) * 2 * head_dim_];
    }

    const Problem& problem_;
    Work work_;
    const long head_dim_;
    Records records_;
    Field<Input> k_, v_, own_q_;
    const Field<Input>& q_;
    Field<Input> d_out_;
    Field<Real> d_k_, d_v_, own_d_q_;
    const Field<Real>& d_q_;
    Buffer<Saved> saved_;
    // Each segment's part of the gradients of the sink and the scale.
    Buffer<double> d_sink_, d_scale_;
    // Per segment: the first place before it that its queries see, and the gradients of those keys.
    Buffer<long> boundary_first_;
    Buffer<Real> boundary_;
    std::vector<Workspace> spaces_;
};
