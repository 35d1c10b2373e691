// The CUDA kernels of the ConvLSTM cell, run on the CPU and called from Python with plain pointers.
#include <cmath>
#include <cstdint>

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include "convlstm_cell/convlstm_cell.cuh"

namespace cell = hf_lesionseg::convlstm_cell;
using hf_lesionseg::Recurrence;

namespace {

template <typename Scalar>
void launch(bool backward, void* const* p, int64_t rows, int64_t inner, bool hard_sigmoid, Recurrence recurrence) {
  const cell::Pointers<Scalar> pointers{
      static_cast<const Scalar*>(p[0]), static_cast<const Scalar*>(p[1]), static_cast<Scalar*>(p[2]),
      static_cast<Scalar*>(p[3]),       static_cast<const Scalar*>(p[4]), static_cast<const Scalar*>(p[5]),
      static_cast<Scalar*>(p[6]),       static_cast<Scalar*>(p[7])};
  backward ? cell::launch<true>(pointers, rows, inner, hard_sigmoid, recurrence, nullptr)
           : cell::launch<false>(pointers, rows, inner, hard_sigmoid, recurrence, nullptr);
}

}  // namespace

extern "C" {

// Order of threads, and a limit on the blocks of a launch (0: none).
void configure(int descending, unsigned grid_limit) {
  cuda_emulation::descending = descending != 0;
  cuda_emulation::grid_limit = grid_limit;
}

// `element`: 0 float32, 1 float64, 2 bfloat16, 3 float16. `pointers`: the eight of cell::Pointers, in their order.
void run_cell(int element, int backward, void* const* pointers, int64_t rows, int64_t inner, int hard_sigmoid,
              int recurrence) {
  const auto kind = static_cast<Recurrence>(recurrence);
  const bool hard = hard_sigmoid != 0, back = backward != 0;
  if (element == 0) launch<float>(back, pointers, rows, inner, hard, kind);
  if (element == 1) launch<double>(back, pointers, rows, inner, hard, kind);
  if (element == 2) launch<c10::BFloat16>(back, pointers, rows, inner, hard, kind);
  if (element == 3) launch<c10::Half>(back, pointers, rows, inner, hard, kind);
}

}  // extern "C"
