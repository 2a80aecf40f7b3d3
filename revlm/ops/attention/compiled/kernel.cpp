// The entry points for Python, each by the type of its inputs: sums are float, or double for double.
// They return 0, or 1 where memory is short.

#include "backward.hpp"
#include "forward.hpp"

namespace {

template <class Pass>
int run(const Problem* problem) {
    if (problem->rows == 0 || problem->tokens == 0) return 0;
    try {
        Pass(*problem).run();
        return 0;
    } catch (const std::bad_alloc&) {
        return 1;
    }
}

}  // namespace

extern "C" {
int forward_float32(const Problem* problem) { return run<Forward<float, float>>(problem); }
int forward_bfloat16(const Problem* problem) { return run<Forward<BFloat16, float>>(problem); }
int forward_float64(const Problem* problem) { return run<Forward<double, double>>(problem); }
int backward_float32(const Problem* problem) { return run<Backward<float, float>>(problem); }
int backward_bfloat16(const Problem* problem) { return run<Backward<BFloat16, float>>(problem); }
int backward_float64(const Problem* problem) { return run<Backward<double, double>>(problem); }
}
