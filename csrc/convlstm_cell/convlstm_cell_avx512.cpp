// The CPU loops of the ConvLSTM cell in AVX-512.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>

#if defined(__x86_64__)

#include <immintrin.h>

// clang-format off
#include "../cpu/begin_avx512.h"
#include "cpu_kernels.h"
#include "../cpu/float_vector.h"
#include "cpu_loops.h"
#include "../cpu/end_target.h"
// clang-format on

namespace hf_lesionseg::convlstm_cell {
Loops avx512_loops(Variant variant) { return loops_of(variant); }
}  // namespace hf_lesionseg::convlstm_cell

#else

#include "cpu_kernels.h"

namespace hf_lesionseg::convlstm_cell {
Loops avx512_loops(Variant) { return {nullptr, nullptr}; }
}  // namespace hf_lesionseg::convlstm_cell

#endif
