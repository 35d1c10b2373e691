// Launching kernels: through the CUDA runtime, or in the tests through an emulation on the CPU that has the same names.
#pragma once

#include <cstdint>

#include "../common/host_device.h"

#if defined(HF_CUDA_EMULATION)
#include "cuda_emulation.h"
#else
#include <cuda_runtime.h>
#define HF_LAUNCH(kernel, grid, block, stream, ...) (kernel)<<<(grid), (block), 0, (stream)>>>(__VA_ARGS__)
// For kernels with barriers: the emulation needs to know.
#define HF_LAUNCH_WITH_BARRIERS HF_LAUNCH
#endif

// A thread's share of `items`, whatever the grid: neighbouring threads have neighbouring items.
#define HF_FOR_ITEMS(item, items)                                                            \
  for (int64_t item = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; item < (items); \
       item += static_cast<int64_t>(gridDim.x) * blockDim.x)

namespace hf_lesionseg {

constexpr int threads_per_block = 256;

// What a kernel computes in.
template <typename Scalar>
struct Compute {
  using Type = float;
};

template <>
struct Compute<double> {
  using Type = double;
};

inline unsigned grid_of(int64_t blocks) {
  constexpr int64_t limit = 0x7fffffff;
  return static_cast<unsigned>(blocks < limit ? blocks : limit);
}

// Blocks for `items` threads; a kernel's own loop over the grid takes what the limit leaves out.
inline unsigned blocks_for(int64_t items) { return grid_of((items + threads_per_block - 1) / threads_per_block); }

// a / b of numbers that are not negative: in 32 bits where they fit, which costs a GPU a fraction.
HF_INLINE int64_t quotient(int64_t a, int64_t b) {
  if (((a | b) >> 32) == 0) return static_cast<uint32_t>(a) / static_cast<uint32_t>(b);
  return a / b;
}

}  // namespace hf_lesionseg
