// Decodes one token of an attention layer: caches it, and attends to the cached keys and values.
#pragma once

#include <cmath>
#include <limits>

#include "../base/memory.hpp"
#include "../base/parallel.hpp"
#include "../base/vectors.hpp"
#include "../tokenwise/hashing.hpp"

// A record is the key followed by the value of one head of one token, `head_dim` elements each. The fields are those of
// `HashToken` in `structures.py`, in the same order.
struct HashToken {
    int64_t samples, heads, head_dim, rounds, pair_rounds, window;
    int64_t directions_of_all, buckets_of_all;  // of all rounds together
    int64_t slot, threads;   // the new token's slot of the first sample; the previous token's is `samples` less
    const Factors* factors;  // [rounds]
    void* projected;         // [samples, 2, heads, head_dim]: keys, not normalized, and values
    double epsilon;          // added to the keys' squared length
    void* latest_key;         // [heads, samples, head_dim]: the key without its predecessor; null: keys have none
    void* predecessor_weight; // [heads], of the accumulation type
    void* records;           // [slots, heads, 2, head_dim]
    int32_t* rings;          // [rings, window] of slots: oldest first, 0 for none
    int32_t* ring_of;        // [samples, heads, buckets_of_all]: 0, the ring that stays empty, where a bucket has none
    int64_t* made;           // the number of rings, of which more are made for buckets with their first token
    const float* directions;       // [heads, head_dim, directions_of_all]
    const int64_t* latest_bucket;  // [heads, samples, rounds], of the previous token; null where there is none
    int64_t* latest_hash;          // [heads, samples, rounds], of the previous token; null where no round has pairs
    int64_t* bucket;               // [heads, samples, rounds], of the new token
    void *scale, *sink;            // [heads], of the accumulation type
    void* out;                     // [heads, samples, head_dim]
};

// The fields are those of `LocalToken` in `structures.py`, in the same order.
struct LocalToken {
    int64_t samples, heads, head_dim, window;
    int64_t place, held, threads;  // the new token's ring index, and the number of entries in use with it
    void* projected;               // [samples, 3, heads, head_dim]: queries and keys, not normalized, and values
    double epsilon;                // added to their squared length
    void *cosine, *sine;           // [head_dim / 2], of the accumulation type
    void* ring;                    // [heads, samples, window, 2, head_dim]
    void *scale, *sink;            // [heads], of the accumulation type
    void* out;                     // [heads, samples, head_dim]
};

// Normalizes a vector to length 1.
template <class Real, class Input>
void make_unit(const Input* from, long size, double epsilon, Real* to) {
    const Real inverse = 1 / std::sqrt(dot<Real>(from, from, size) + Real(epsilon));
    for (long d = 0; d < size; ++d) to[d] = Real(as_real(from[d])) * inverse;
}

// Attention of one query to records at arbitrary addresses.
template <class Input, class Real>
class OneQuery {
    static constexpr int n = lanes<Real>;
    static constexpr long prefetched = 16;  // records being prefetched while one is read

   public:
    OneQuery(long head_dim, long most_records)
        : head_dim_(head_dim), records_(most_records), weights_(rounded_up(most_records, n)), total_(head_dim) {}

    void clear() { count_ = 0; }
    void add(const Input* record) { records_[count_++] = record; }

    void attend(const Input* q, Real scale, Real sink, Input* out) {
        for (long i = 0; i < std::min(prefetched, count_); ++i) prefetch(records_[i]);
        Real maximum = sink;
        for (long i = 0; i < count_; ++i) {
            if (i + prefetched < count_) prefetch(records_[i + prefetched]);
            weights_[i] = scale * dot<Real>(q, records_[i], head_dim_);
            maximum = std::max(maximum, weights_[i]);
        }
        const long filled = rounded_up(count_, n);
        std::fill(&weights_[count_], &weights_[filled], -std::numeric_limits<Real>::infinity());
        for (long i = 0; i < filled; i += n)
            store(&weights_[i], exponential<Real>(load<Vector<Real>>(&weights_[i]) - maximum));
        Real sum = std::exp(sink - maximum);
        std::fill_n(&total_[0], head_dim_, Real(0));
        for (long i = 0; i < count_; ++i) {
            const Input* const v = records_[i] + head_dim_;
            sum += weights_[i];
            for (long d = 0; d < head_dim_; ++d) total_[d] += weights_[i] * Real(as_real(v[d]));
        }
        for (long d = 0; d < head_dim_; ++d) assign(out[d], total_[d] / sum);
    }

   private:
    void prefetch(const Input* record) const {
        const char* const from = reinterpret_cast<const char*>(record);
        for (long byte = 0; byte < 2 * head_dim_ * long(sizeof(Input)); byte += 64) __builtin_prefetch(from + byte);
    }

    const long head_dim_;
    long count_ = 0;
    Buffer<const Input*> records_;
    Buffer<Real> weights_, total_;
};

// Runs of_head(space, sample, head) for each head of each sample; every thread has its own space.
template <class Space, class Token, class OfHead>
void each_head(const Token& token, const OfHead& of_head) {
    std::vector<Space> spaces;
    for (long thread = 0; thread < token.threads; ++thread) spaces.emplace_back(token);
    parallel(token.threads, token.samples * token.heads, [&](long thread, long task) {
        of_head(spaces[thread], task / token.heads, task % token.heads);
    });
}

template <class Input, class Real>
class HashTokens {
   public:
    explicit HashTokens(const HashToken& token) : token_(token), first_bucket_(token.rounds) {
        for (long round = 0, buckets = 0; round < token.rounds; buckets += token.factors[round++].buckets())
            first_bucket_[round] = buckets;
    }

    void run() const {
        each_head<Space>(token_, [this](Space& space, long sample, long head) { of_head(space, sample, head); });
    }

   private:
    // Where a thread works.
    struct Space {
        Buffer<Real> unit;
        Buffer<float> products;
        Buffer<int32_t> slots, joined;
        OneQuery<Input, Real> query;

        explicit Space(const HashToken& token)
            : unit(token.head_dim),
              products(token.directions_of_all),
              slots(token.rounds * token.window),
              joined(token.rounds * token.window),
              query(token.head_dim, token.rounds * token.window) {}
    };

    void of_head(Space& space, long sample, long head) const {
        const long head_dim = token_.head_dim, of_bucket = (head * token_.samples + sample) * token_.rounds;
        Input* const own = record(token_.slot + sample, head);
        write_record(space, sample, head, own);
        int64_t* const bucket = token_.bucket + of_bucket;
        hash(space, own, head, bucket);
        if (token_.pair_rounds > 0) pair(bucket, token_.latest_hash + of_bucket);
        if (token_.latest_bucket)
            for (long round = 0; round < token_.rounds; ++round)
                push(ring_of(sample, head, round, token_.latest_bucket[of_bucket + round]), latest_slot(sample));
        const long found = find(space, sample, head, bucket);
        space.query.clear();
        for (long i = 0; i < found; ++i) space.query.add(record(space.slots[i], head));
        space.query.attend(own, static_cast<const Real*>(token_.scale)[head],
                           static_cast<const Real*>(token_.sink)[head],
                           static_cast<Input*>(token_.out) + (head * token_.samples + sample) * head_dim);
    }

    // Writes the record of the new token.
    void write_record(Space& space, long sample, long head, Input* record) const {
        const long head_dim = token_.head_dim;
        const Input* const k = static_cast<const Input*>(token_.projected) +
                               (2 * sample * token_.heads + head) * head_dim;
        if (token_.latest_key) {
            add_predecessor(space, head, k, static_cast<Input*>(token_.latest_key) +
                                                (head * token_.samples + sample) * head_dim);
        } else {
            make_unit(k, head_dim, token_.epsilon, &space.unit[0]);
        }
        for (long d = 0; d < head_dim; ++d) assign(record[d], space.unit[d]);
        std::copy_n(k + token_.heads * head_dim, head_dim, record + head_dim);
    }

    // The unit vector of the new token's key and the previous one's, whose place the new one takes.
    void add_predecessor(Space& space, long head, const Input* k, Input* latest) const {
        const Real weight = static_cast<const Real*>(token_.predecessor_weight)[head];
        for (long d = 0; d < token_.head_dim; ++d) {
            space.unit[d] = Real(as_real(k[d])) + weight * Real(as_real(latest[d]));
            latest[d] = k[d];
        }
        make_unit(&space.unit[0], token_.head_dim, token_.epsilon, &space.unit[0]);
    }

    // Computes the bucket of a key in each round, in float for any type.
    void hash(Space& space, const Input* k, long head, int64_t* bucket) const {
        const long directions = token_.directions_of_all;
        const float* of_dimension = token_.directions + head * token_.head_dim * directions;
        std::fill_n(&space.products[0], directions, 0.0f);
        for (long d = 0; d < token_.head_dim; ++d, of_dimension += directions) {
            const float hashed = float(as_real(k[d]));
            for (long i = 0; i < directions; ++i) space.products[i] += hashed * of_dimension[i];
        }
        const float* products = &space.products[0];
        for (long round = 0; round < token_.rounds; ++round) {
            const auto [first, second] = token_.factors[round];
            bucket[round] = nearest(products, first);
            if (second > 0) bucket[round] = 2 * second * bucket[round] + nearest(products + first, second);
            products += first + second;
        }
    }

    // Makes hashes pairs with those of the previous token, whose place they take.
    void pair(int64_t* bucket, int64_t* latest) const {
        for (long round = token_.rounds - token_.pair_rounds; round < token_.rounds; ++round) {
            const int64_t hash = bucket[round], second = std::max(2 * token_.factors[round].second, int64_t(1));
            bucket[round] = hash - hash % second + latest[round] % second;
            latest[round] = hash;
        }
    }

    // The index of the largest among the products followed by their negatives.
    static long nearest(const float* products, long count) {
        const float* const largest = std::max_element(products, products + count);
        const float* const smallest = std::min_element(products, products + count);
        return *largest >= -*smallest ? largest - products : count + (smallest - products);
    }

    void push(int32_t& number, long slot) const {
        if (number == 0) {
            number = int32_t(__atomic_fetch_add(token_.made, 1, __ATOMIC_RELAXED));
            std::fill_n(ring(number), token_.window, 0);
        }
        int32_t* const pushed = ring(number);
        std::copy(pushed + 1, pushed + token_.window, pushed);
        pushed[token_.window - 1] = int32_t(slot);
    }

    // Fills `slots` with the sorted union of the slots in the rings of all rounds; returns their number.
    long find(Space& space, long sample, long head, const int64_t* bucket) const {
        long count = 0;
        for (long round = 0; round < token_.rounds; ++round) {
            const int32_t *const first = ring(ring_of(sample, head, round, bucket[round])),
                          *const last = first + token_.window;
            const int32_t* const end = std::set_union(&space.slots[0], &space.slots[count],
                                                      std::upper_bound(first, last, 0), last, &space.joined[0]);
            count = end - &space.joined[0];
            std::swap(space.slots, space.joined);
        }
        return count;
    }

    long latest_slot(long sample) const { return token_.slot - token_.samples + sample; }

    Input* record(long slot, long head) const {
        return static_cast<Input*>(token_.records) + (slot * token_.heads + head) * 2 * token_.head_dim;
    }

    int32_t* ring(int32_t number) const { return token_.rings + number * token_.window; }

    int32_t& ring_of(long sample, long head, long round, long bucket) const {
        const long of_head = (sample * token_.heads + head) * token_.buckets_of_all;
        return token_.ring_of[of_head + first_bucket_[round] + bucket];
    }

    const HashToken& token_;
    Buffer<long> first_bucket_;  // the number of buckets of all rounds before
};

template <class Input, class Real>
class LocalTokens {
   public:
    explicit LocalTokens(const LocalToken& token) : token_(token) {}

    void run() const {
        each_head<Space>(token_, [this](Space& space, long sample, long head) { of_head(space, sample, head); });
    }

   private:
    // Where a thread works.
    struct Space {
        Buffer<Real> unit;
        Buffer<Input> q;
        OneQuery<Input, Real> query;

        explicit Space(const LocalToken& token)
            : unit(token.head_dim), q(token.head_dim), query(token.head_dim, token.window) {}
    };

    void of_head(Space& space, long sample, long head) const {
        const long head_dim = token_.head_dim, row = head * token_.samples + sample;
        const Input* const q = static_cast<const Input*>(token_.projected) +
                               (3 * sample * token_.heads + head) * head_dim;
        const Input *const k = q + token_.heads * head_dim, *const v = k + token_.heads * head_dim;
        Input* const ring = static_cast<Input*>(token_.ring) + row * token_.window * 2 * head_dim;
        Input* const own = ring + token_.place * 2 * head_dim;
        rotate(space, q, &space.q[0]);
        rotate(space, k, own);
        std::copy_n(v, head_dim, own + head_dim);
        space.query.clear();
        for (long place = 0; place < token_.held; ++place) space.query.add(ring + place * 2 * head_dim);
        space.query.attend(&space.q[0], static_cast<const Real*>(token_.scale)[head],
                           static_cast<const Real*>(token_.sink)[head],
                           static_cast<Input*>(token_.out) + row * head_dim);
    }

    // Writes the vector, normalized to length 1 and rotated by the token's position.
    void rotate(Space& space, const Input* from, Input* to) const {
        const long half = token_.head_dim / 2;
        const Real *const cosine = static_cast<const Real*>(token_.cosine),
                   *const sine = static_cast<const Real*>(token_.sine);
        make_unit(from, token_.head_dim, token_.epsilon, &space.unit[0]);
        for (long d = 0; d < half; ++d) {
            const Real first = space.unit[d], second = space.unit[half + d];
            assign(to[d], first * cosine[d] - second * sine[d]);
            assign(to[half + d], first * sine[d] + second * cosine[d]);
        }
    }

    const LocalToken& token_;
};
