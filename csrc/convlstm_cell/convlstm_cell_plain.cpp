// The CPU loops of the ConvLSTM cell that run everywhere: four floats or two doubles at a time (SSE2 and NEON are what
// compilers may take for granted). They are the yardstick of the others and not registered, since torch's own are faster
// there; see beats_plain_pytorch.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>

#define HF_LANES 4
// clang-format off
#include "cpu_kernels.h"
#include "../cpu/float_vector.h"
#include "cpu_loops.h"
// clang-format on

namespace hf_lesionseg::convlstm_cell {
Loops plain_loops(Variant variant) { return loops_of(variant); }
}  // namespace hf_lesionseg::convlstm_cell
