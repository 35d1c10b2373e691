// Enough of CUDA to run this project's kernels on the CPU, from their own source and without a GPU.
//
// The threads of a launch run one after the other, in ascending or descending order: a result that depends on the order
// shows. Every launch is checked against CUDA's limits. What it cannot show: the GPU's own exp and tanh, races, speed.
// Kernels with barriers or shuffles would need threads that can wait; none here has them.
#pragma once

#include <cstdint>
#include <stdexcept>

#define __global__ static
#define __host__
#define __device__
#define __launch_bounds__(...)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned x_, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

using cudaStream_t = void*;

namespace cuda_emulation {

inline dim3 thread_index{0}, block_index{0}, block_size{1}, grid_size{1};
inline bool descending = false;
inline unsigned grid_limit = 0;  // not 0: launch no more blocks, so that the kernel's loop over the grid has to turn
inline int64_t launches = 0;

template <typename KernelFunction, typename... Values>
void launch(KernelFunction kernel, dim3 grid, dim3 block, Values... values) {
  const auto between = [](unsigned value, unsigned limit) { return value >= 1 && value <= limit; };
  const bool grid_fits = between(grid.x, 0x7fffffffu) && between(grid.y, 65535) && between(grid.z, 65535);
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (!grid_fits || threads < 1 || threads > 1024) throw std::runtime_error("CUDA would refuse this launch");
  if (grid.y != 1 || grid.z != 1 || block.y != 1 || block.z != 1) throw std::runtime_error("only x is emulated");
  if (grid_limit != 0 && grid.x > grid_limit) grid.x = grid_limit;
  ++launches;
  grid_size = grid;
  block_size = block;
  const uint64_t total = uint64_t{grid.x} * block.x;
  for (uint64_t step = 0; step < total; ++step) {
    const uint64_t index = descending ? total - 1 - step : step;
    block_index.x = static_cast<unsigned>(index / block.x);
    thread_index.x = static_cast<unsigned>(index % block.x);
    kernel(values...);
  }
}

}  // namespace cuda_emulation

#define threadIdx (cuda_emulation::thread_index)
#define blockIdx (cuda_emulation::block_index)
#define blockDim (cuda_emulation::block_size)
#define gridDim (cuda_emulation::grid_size)
#define HF_LAUNCH(kernel, grid, block, stream, ...) cuda_emulation::launch(kernel, grid, block, __VA_ARGS__)
