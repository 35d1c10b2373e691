// The CPU loops of each instruction set, called from Python with plain pointers: the shipped library only ever uses the
// best one of the processor it runs on.
#include "convlstm_cell/cpu_kernels.h"
#include "cpu/instruction_set.h"

namespace cell = hf_lesionseg::convlstm_cell;

extern "C" {

// The best instruction set of this processor: 0 plain, 1 AVX2, 2 AVX-512.
int best_instruction_set() { return static_cast<int>(hf_lesionseg::instruction_set()); }

// Arguments as in emulated_convlstm_cell.cpp; `first` and `last`: which blocks of 2048 elements. 1 where it ran.
int run_cell(int instruction_set, int element, int backward, void* const* p, int64_t inner, int64_t first, int64_t last,
             int hard_sigmoid, int recurrence) {
  const cell::Variant variant{static_cast<cell::Element>(element), hard_sigmoid != 0,
                              static_cast<hf_lesionseg::Recurrence>(recurrence)};
  cell::Loops loops = cell::plain_loops(variant);
  if (instruction_set == 1) loops = cell::avx2_loops(variant);
  if (instruction_set == 2) loops = cell::avx512_loops(variant);
  if (loops.forward == nullptr) return 0;
  cell::Arguments a{};
  a.inner = inner;
  a.block = 2048;
  a.blocks_per_row = (inner + a.block - 1) / a.block;
  a.gates = p[0];
  a.state = p[1];
  a.hidden = p[2];
  a.cell = p[3];
  a.grad_hidden = p[4];
  a.grad_cell = p[5];
  a.grad_gates = p[6];
  a.grad_state = p[7];
  (backward != 0 ? loops.backward : loops.forward)(a, first, last);
  return 1;
}

}  // extern "C"
