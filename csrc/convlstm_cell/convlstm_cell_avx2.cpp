// The CPU loops of the ConvLSTM cell in AVX2.
//
// Standard headers come before the target is raised, so that their inline functions stay ordinary code.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

#define HF_LANES 8
// clang-format off
#include "cpu_kernels.h"
#include "../cpu/float_vector.h"
#include "cpu_loops.h"
// clang-format on

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace hf_lesionseg::convlstm_cell {
Loops avx2_loops(Variant variant) { return loops_of(variant); }
}  // namespace hf_lesionseg::convlstm_cell

#else

#include "cpu_kernels.h"

namespace hf_lesionseg::convlstm_cell {
Loops avx2_loops(Variant) { return {nullptr, nullptr}; }
}  // namespace hf_lesionseg::convlstm_cell

#endif
