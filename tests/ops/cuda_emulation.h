// Enough of CUDA to run this project's kernels on the CPU, from their own source and without a GPU.
//
// The threads of a launch run one after the other, in ascending or descending order: a result that depends on the order
// shows. Those of a block that has barriers are fibers: each runs until its next barrier, where it waits for the others.
// A barrier that not all of them reach is an error, and so is a launch beyond CUDA's limits. What it cannot show: the
// GPU's own exp and tanh, races between barriers that both orders happen to hide, speed.
#pragma once

#include <ucontext.h>

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#define __global__ static
#define __host__
#define __device__
#define __shared__ static  // blocks run one after the other
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

// A block whose threads can wait for each other.
class Block {
 public:
  // All threads of the current block; `thread` does the work of the one that thread_index names.
  static void run(const std::function<void()>& thread, unsigned threads) {
    static std::vector<Fiber> fibers;
    fibers.resize(threads);
    for (Fiber& fiber : fibers) fiber.start();
    work = &thread;
    for (;;) {
      unsigned waiting = 0, done = 0;
      for (unsigned step = 0; step < threads; ++step) {
        thread_index.x = descending ? threads - 1 - step : step;
        running = &fibers[thread_index.x];
        if (!running->done) swapcontext(&scheduler, &running->context);
        running->done ? ++done : ++waiting;
      }
      running = nullptr;
      if (waiting == 0) return;
      if (done != 0) {
        throw std::runtime_error("a barrier was reached by " + std::to_string(waiting) + " of " +
                                 std::to_string(threads) + " threads");
      }
    }
  }

  static void wait() {
    if (running == nullptr) throw std::runtime_error("a kernel with barriers was launched as one without");
    swapcontext(&running->context, &scheduler);
  }

 private:
  struct Fiber {
    ucontext_t context;
    std::vector<char> stack;
    bool done;

    void start() {
      stack.resize(size_t{64} << 10);
      done = false;
      getcontext(&context);
      context.uc_stack.ss_sp = stack.data();
      context.uc_stack.ss_size = stack.size();
      context.uc_link = &scheduler;
      makecontext(&context, enter, 0);
    }
  };

  static void enter() {
    (*work)();
    running->done = true;
  }

  static inline ucontext_t scheduler;
  static inline Fiber* running = nullptr;
  static inline const std::function<void()>* work = nullptr;
};

template <bool with_barriers, typename KernelFunction, typename... Values>
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
  const std::function<void()> thread = [&] { kernel(values...); };
  for (unsigned step = 0; step < grid.x; ++step) {
    block_index.x = descending ? grid.x - 1 - step : step;
    if (with_barriers) {
      Block::run(thread, block.x);
      continue;
    }
    for (unsigned turn = 0; turn < block.x; ++turn) {
      thread_index.x = descending ? block.x - 1 - turn : turn;
      kernel(values...);
    }
  }
}

}  // namespace cuda_emulation

inline void __syncthreads() { cuda_emulation::Block::wait(); }

#define threadIdx (cuda_emulation::thread_index)
#define blockIdx (cuda_emulation::block_index)
#define blockDim (cuda_emulation::block_size)
#define gridDim (cuda_emulation::grid_size)
#define HF_LAUNCH(kernel, grid, block, stream, ...) cuda_emulation::launch<false>(kernel, grid, block, __VA_ARGS__)
#define HF_LAUNCH_WITH_BARRIERS(kernel, grid, block, stream, ...) \
  cuda_emulation::launch<true>(kernel, grid, block, __VA_ARGS__)
