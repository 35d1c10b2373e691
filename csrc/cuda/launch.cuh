// Launching kernels: through the CUDA runtime, or in the tests through an emulation on the CPU that has the same names.
#pragma once

#include <cstdint>

#if defined(HF_CUDA_EMULATION)
#include "cuda_emulation.h"
#else
#include <cuda_runtime.h>
#define HF_LAUNCH(kernel, grid, block, stream, ...) (kernel)<<<(grid), (block), 0, (stream)>>>(__VA_ARGS__)
#endif

namespace hf_lesionseg {

constexpr int threads_per_block = 256;

// Blocks for `items` threads; a kernel's own loop over the grid takes what the limit leaves out.
inline unsigned blocks_for(int64_t items) {
  const int64_t blocks = (items + threads_per_block - 1) / threads_per_block;
  constexpr int64_t limit = 0x7fffffff;
  return static_cast<unsigned>(blocks < limit ? blocks : limit);
}

}  // namespace hf_lesionseg
