// Adds increments, rounded to the grid, to an integer stream, and tracks the largest magnitudes of both; returns streams
// as floating-point numbers.
#pragma once

#include <cmath>
#include <mutex>

#include "../base/parallel.hpp"
#include "../base/problem.hpp"
#include "../base/vectors.hpp"

// The fields are those of `Addition` in `structures.py`, in the same order.
struct Addition {
    int64_t elements, threads;
    int32_t* stream;
    const void* increment;
    double* largest_increment;  // of all so far, in grid steps
    int64_t* largest_stream;    // likewise
    double factor;              // grid steps per unit; negative to subtract
};

// stream += round(increment * factor), ties to even; sums wrap. NaN and magnitudes of 2^31 or more become -2^31.
template <class Increment>
class AddToStream {
    // Waking a thread takes as long as processing this many elements.
    static constexpr long elements_of_task = 1 << 16;

   public:
    explicit AddToStream(const Addition& problem) : problem_(problem), factor_(float(problem.factor)) {}

    void run() {
        const long elements = problem_.elements;
        parallel(problem_.threads, (elements + elements_of_task - 1) / elements_of_task, [&](long, long task) {
            const long start = task * elements_of_task, stop = std::min(start + elements_of_task, elements);
            add(problem_.stream + start, static_cast<const Increment*>(problem_.increment) + start, stop - start);
        });
    }

   private:
    void add(int32_t* stream, const Increment* increment, long size) {
        constexpr float beyond = 0x1p31f;
        constexpr int32_t without_sign = 0x7FFFFFFF, infinity = 0x7F800000;
        // The bit patterns of magnitudes have the order of the magnitudes, with NaN above infinity.
        int32_t largest_increment = 0;
        uint32_t largest_stream = 0;
        for (long i = 0; i < size; ++i) {
            const float scaled = as_real(increment[i]) * factor_;
            largest_increment = std::max(largest_increment, bits_as<int32_t>(scaled) & without_sign);
            const float rounded = std::nearbyint(std::fabs(scaled) < beyond ? scaled : -beyond);
            const uint32_t sum = uint32_t(stream[i]) + uint32_t(int32_t(rounded));
            stream[i] = int32_t(sum);
            largest_stream = std::max(largest_stream, int32_t(sum) < 0 ? 0 - sum : sum);
        }
        watch(bits_as<float>(std::min(largest_increment, infinity)), largest_stream);
    }

    void watch(double increment, int64_t stream) {
        const std::lock_guard<std::mutex> lock(watching_);
        if (increment > *problem_.largest_increment) *problem_.largest_increment = increment;  // a NaN there stays
        *problem_.largest_stream = std::max(*problem_.largest_stream, stream);
    }

    const Addition& problem_;
    const float factor_;
    std::mutex watching_;
};

// The fields are those of `Conversion` in `structures.py`, in the same order.
struct Conversion {
    int64_t elements, threads;
    const int32_t* stream;
    float* out;
    double step;  // of the grid
};

// out = stream * step
class StreamAsFloat {
    // Waking a thread takes as long as processing this many elements.
    static constexpr long elements_of_task = 1 << 16;

   public:
    explicit StreamAsFloat(const Conversion& problem) : problem_(problem) {}

    void run() {
        const long elements = problem_.elements;
        parallel(problem_.threads, (elements + elements_of_task - 1) / elements_of_task, [&](long, long task) {
            const long start = task * elements_of_task, size = std::min(elements_of_task, elements - start);
            convert(problem_.stream + start, size, float(problem_.step), problem_.out + start);
        });
    }

   private:
    static void convert(const int32_t* __restrict stream, long size, float step, float* __restrict out) {
        for (long i = 0; i < size; ++i) out[i] = float(stream[i]) * step;
    }

    const Conversion& problem_;
};
