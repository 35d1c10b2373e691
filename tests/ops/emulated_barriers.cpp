// The emulation's own test: kernels whose barriers are right and wrong.
#include <exception>
#include <string>

#include "cuda/launch.cuh"

__global__ void reverse(int* values, int threads, bool with_barrier, bool some_return_early) {
  __shared__ int shared[64];
  const int thread = threadIdx.x;
  if (some_return_early && thread % 8 == 3) return;
  shared[thread] = values[thread];
  if (with_barrier) __syncthreads();
  values[thread] = shared[threads - 1 - thread];
}

// Reverses 64 values. Gives what the emulation throws, or null.
extern "C" const char* run_reverse(int* values, int descending, int with_barrier, int some_return_early,
                                      int launched_with_barriers) {
  static std::string message;
  cuda_emulation::descending = descending != 0;
  try {
    if (launched_with_barriers) {
      HF_LAUNCH_WITH_BARRIERS(reverse, 1, 64, nullptr, values, 64, with_barrier != 0, some_return_early != 0);
    } else {
      HF_LAUNCH(reverse, 1, 64, nullptr, values, 64, with_barrier != 0, some_return_early != 0);
    }
  } catch (const std::exception& error) {
    message = error.what();
    return message.c_str();
  }
  return nullptr;
}
