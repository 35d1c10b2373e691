// The CPU loops of the ConvLSTM cell that run everywhere: four floats at a time (SSE2 and NEON are what compilers may
// take for granted), and float64 one by one.
#include <cmath>
#include <cstdint>
#include <cstring>

#define HF_LANES 4
// clang-format off
#include "cpu_kernels.h"
#include "../cpu/float_vector.h"
#include "cpu_loops.h"
// clang-format on

namespace {

struct DoublePack {
  using Value = double;
  using Math = hf_lesionseg::ScalarMath<double>;
  static constexpr int lanes = 1;
  static HF_INLINE double load(const double* from) { return *from; }
  static HF_INLINE void store(double* to, double value) { *to = value; }
};

}  // namespace

namespace hf_lesionseg::convlstm_cell {

Loops plain_loops(Variant variant) {
  switch (variant.element) {
    case Element::float32:
      return loops_of<FloatPack<float>, float>(variant);
    case Element::float64:
      return loops_of<DoublePack, double>(variant);
    case Element::bfloat16:
      return loops_of<FloatPack<BFloat16>, BFloat16>(variant);
    case Element::float16:
      return loops_of<FloatPack<Half>, Half>(variant);
  }
  return {nullptr, nullptr};
}

}  // namespace hf_lesionseg::convlstm_cell
