// The CPU loops of RoI sampling and pasting that run everywhere: four floats or two doubles at a time (SSE2 and NEON are
// what compilers may take for granted).
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <type_traits>

#define HF_LANES 4
// clang-format off
#include "cpu_kernels.h"
#include "../cpu/float_vector.h"
#include "../cpu/vector_memory.h"
#include "cpu_loops.h"
// clang-format on

namespace hf_lesionseg::roi_sampling {
AllLoops plain_loops(Element element) { return loops_of(element); }
}  // namespace hf_lesionseg::roi_sampling
