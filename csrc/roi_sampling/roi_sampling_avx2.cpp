// The CPU loops of RoI sampling and pasting in AVX2.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <type_traits>

#if defined(__x86_64__)

#include <immintrin.h>

// clang-format off
#include "../cpu/begin_avx2.h"
#include "cpu_kernels.h"
#include "../cpu/float_vector.h"
#include "../cpu/vector_memory.h"
#include "cpu_loops.h"
#include "../cpu/end_target.h"
// clang-format on

namespace hf_lesionseg::roi_sampling {
AllLoops avx2_loops(Element element) { return loops_of(element); }
}  // namespace hf_lesionseg::roi_sampling

#else

#include "cpu_kernels.h"

namespace hf_lesionseg::roi_sampling {
AllLoops avx2_loops(Element) { return {}; }
}  // namespace hf_lesionseg::roi_sampling

#endif
