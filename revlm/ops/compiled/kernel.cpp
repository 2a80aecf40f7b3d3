// The entry points for Python, one per input type. They return 0, or 1 if memory runs out.

#include <string>
#include <unordered_map>

#include "attention/backward.hpp"
#include "attention/forward.hpp"
#include "attention/one_token.hpp"
#include "tokenwise/cross_entropy.hpp"
#include "tokenwise/fixed_point.hpp"
#include "tokenwise/hashing.hpp"
#include "tokenwise/heads.hpp"
#include "tokenwise/normalization.hpp"
#include "tokenwise/output_gradient.hpp"
#include "tokenwise/predecessor_keys.hpp"
#include "tokenwise/squared_relu.hpp"

namespace {

template <class Work, class Problem>
int run(const Problem* problem) {
    try {
        Work(*problem).run();
        return 0;
    } catch (const std::bad_alloc&) {
        return 1;
    }
}

template <class Pass>
int run_attention(const Problem* problem) {
    return problem->rows == 0 || problem->tokens == 0 ? 0 : run<Pass>(problem);
}

template <class Input, class Output>
int normalize(const Normalization* problem) {
    try {
        Normalizing<Input, Output> normalizing(*problem);
        problem->d_y.data ? normalizing.backward() : normalizing.forward();
        return 0;
    } catch (const std::bad_alloc&) {
        return 1;
    }
}

}  // namespace

extern "C" {
// The size in bytes of a structure that Python fills, by name; 0 for an unknown name.
int64_t size_of(const char* name) {
    static const std::unordered_map<std::string, int64_t> sizes{
        {"Tensor", sizeof(Tensor)},       {"Problem", sizeof(Problem)},
        {"Hash", sizeof(Hash)},           {"Normalization", sizeof(Normalization)},
        {"Addition", sizeof(Addition)},   {"CrossEntropy", sizeof(CrossEntropy)},
        {"HashToken", sizeof(HashToken)}, {"LocalToken", sizeof(LocalToken)},
        {"Conversion", sizeof(Conversion)}, {"SquaredReLU", sizeof(SquaredReLU)},
        {"Heads", sizeof(Heads)},         {"PredecessorKeys", sizeof(PredecessorKeys)},
        {"OutputGradient", sizeof(OutputGradient)},
    };
    const auto found = sizes.find(name);
    return found == sizes.end() ? 0 : found->second;
}

// Uses the threads of an OpenMP library, given the address of its GOMP_parallel.
void use_team(Team::Start start) { team = {start, getpid()}; }

// Attention accumulates in float, or in double for double.
int attention_forward_float32(const Problem* problem) { return run_attention<Forward<float, float>>(problem); }
int attention_forward_bfloat16(const Problem* problem) { return run_attention<Forward<BFloat16, float>>(problem); }
int attention_forward_float64(const Problem* problem) { return run_attention<Forward<double, double>>(problem); }
int attention_backward_float32(const Problem* problem) { return run_attention<Backward<float, float>>(problem); }
int attention_backward_bfloat16(const Problem* problem) { return run_attention<Backward<BFloat16, float>>(problem); }
int attention_backward_float64(const Problem* problem) { return run_attention<Backward<double, double>>(problem); }

int split_heads_float32_float32(const Heads* heads) { return run<SplittingHeads<float, float>>(heads); }
int split_heads_float32_bfloat16(const Heads* heads) { return run<SplittingHeads<float, BFloat16>>(heads); }
int split_heads_bfloat16_float32(const Heads* heads) { return run<SplittingHeads<BFloat16, float>>(heads); }
int split_heads_bfloat16_bfloat16(const Heads* heads) { return run<SplittingHeads<BFloat16, BFloat16>>(heads); }

int hash_float32(const Hash* hash) { return run<Hashing<float>>(hash); }
int hash_bfloat16(const Hash* hash) { return run<Hashing<BFloat16>>(hash); }

int normalize_float32_float32(const Normalization* problem) { return normalize<float, float>(problem); }
int normalize_float32_bfloat16(const Normalization* problem) { return normalize<float, BFloat16>(problem); }
int normalize_bfloat16_float32(const Normalization* problem) { return normalize<BFloat16, float>(problem); }
int normalize_bfloat16_bfloat16(const Normalization* problem) { return normalize<BFloat16, BFloat16>(problem); }
int normalize_int32_float32(const Normalization* problem) { return normalize<int32_t, float>(problem); }
int normalize_int32_bfloat16(const Normalization* problem) { return normalize<int32_t, BFloat16>(problem); }

int hash_token_float32(const HashToken* token) { return run<HashTokens<float, float>>(token); }
int hash_token_bfloat16(const HashToken* token) { return run<HashTokens<BFloat16, float>>(token); }
int hash_token_float64(const HashToken* token) { return run<HashTokens<double, double>>(token); }
int local_token_float32(const LocalToken* token) { return run<LocalTokens<float, float>>(token); }
int local_token_bfloat16(const LocalToken* token) { return run<LocalTokens<BFloat16, float>>(token); }
int local_token_float64(const LocalToken* token) { return run<LocalTokens<double, double>>(token); }

int cross_entropy_float32(const CrossEntropy* problem) { return run<SoftmaxGradient<float>>(problem); }
int cross_entropy_bfloat16(const CrossEntropy* problem) { return run<SoftmaxGradient<BFloat16>>(problem); }

int add_to_stream_float32(const Addition* problem) { return run<AddToStream<float>>(problem); }
int add_to_stream_bfloat16(const Addition* problem) { return run<AddToStream<BFloat16>>(problem); }
int stream_as_float32(const Conversion* problem) { return run<StreamAsFloat>(problem); }

int write_gradient_float32(const OutputGradient* problem) { return run<WriteGradient<float, float>>(problem); }
int write_gradient_bfloat16(const OutputGradient* problem) { return run<WriteGradient<BFloat16, float>>(problem); }
int write_gradient_float64(const OutputGradient* problem) { return run<WriteGradient<double, double>>(problem); }

int add_predecessors_float32(const PredecessorKeys* problem) { return run<AddingPredecessors<float>>(problem); }
int add_predecessors_bfloat16(const PredecessorKeys* problem) { return run<AddingPredecessors<BFloat16>>(problem); }

int squared_relu_float32(const SquaredReLU* problem) { return run<Squaring<float>>(problem); }
int squared_relu_bfloat16(const SquaredReLU* problem) { return run<Squaring<BFloat16>>(problem); }
}
