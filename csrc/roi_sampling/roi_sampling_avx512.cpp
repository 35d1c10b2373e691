// The CPU loops of RoI sampling and pasting in AVX-512.
//
// Standard headers come before the target is raised, so that their inline functions stay ordinary code.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__x86_64__)

#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#endif

#define HF_LANES 16
// clang-format off
#include "cpu_kernels.h"
#include "../cpu/float_vector.h"
#include "../cpu/vector_memory.h"
#include "cpu_loops.h"
// clang-format on

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace hf_lesionseg::roi_sampling {
AllLoops avx512_loops(Element element) { return loops_of(element); }
}  // namespace hf_lesionseg::roi_sampling

#else

#include "cpu_kernels.h"

namespace hf_lesionseg::roi_sampling {
AllLoops avx512_loops(Element) { return {}; }
}  // namespace hf_lesionseg::roi_sampling

#endif
