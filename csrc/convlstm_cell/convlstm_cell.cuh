// The CUDA kernels of the ConvLSTM cell and how they are launched. No torch header: the tests also compile this file
// for the CPU.
#pragma once

#include <cstdint>

#include "../cuda/launch.cuh"
#include "arithmetic.h"

namespace hf_lesionseg::convlstm_cell {

// Gates lie as (rows, gates, inner), everything else as (rows, inner); see cpu_kernels.h.
template <typename Scalar>
struct Pointers {
  const Scalar* gates;
  const Scalar* state;        // null without one
  Scalar* hidden;             // forward
  Scalar* cell;
  const Scalar* grad_hidden;  // backward; null where nothing flows back
  const Scalar* grad_cell;
  Scalar* grad_gates;
  Scalar* grad_state;
};

// What one thread reads or writes at once: 16 bytes, or a single element where rows are not a multiple of that.
template <typename Scalar, int width>
struct alignas(sizeof(Scalar) * width) Packet {
  Scalar values[width];
};

template <typename Scalar, int width>
HF_INLINE Packet<Scalar, width> load(const Scalar* from) {
  return *reinterpret_cast<const Packet<Scalar, width>*>(from);
}

template <typename Scalar, int width>
HF_INLINE void store(Scalar* to, const Packet<Scalar, width>& packet) {
  *reinterpret_cast<Packet<Scalar, width>*>(to) = packet;
}

template <typename Scalar, int width, typename Index, Recurrence recurrence>
struct Kernel {
  using T = typename Compute<Scalar>::Type;
  using Math = ScalarMath<T>;
  using Gate = EitherSigmoid<T, Math>;
  using Values = Packet<Scalar, width>;
  static constexpr int gates = gate_count(recurrence);
  static constexpr int candidate = candidate_gate(recurrence);
  static constexpr int output = output_gate(recurrence);

  static HF_INLINE void forward(const Pointers<Scalar>& p, Gate activation, Index inner, Index at) {
    const Index gate = at + at / inner * (gates - 1) * inner;
    const Values in = load<Scalar, width>(p.gates + gate), g = load<Scalar, width>(p.gates + gate + candidate * inner),
                 out = load<Scalar, width>(p.gates + gate + output * inner);
    Values forget{}, state{}, hidden, cell;
    if constexpr (recurrence == Recurrence::state) {
      forget = load<Scalar, width>(p.gates + gate + inner);
      state = load<Scalar, width>(p.state + at);
    }
    for (int k = 0; k < width; ++k) {
      const CellOutput<T> result = cell_forward<T, Math, recurrence>(
          activation, static_cast<T>(in.values[k]), static_cast<T>(forget.values[k]), static_cast<T>(g.values[k]),
          static_cast<T>(out.values[k]), static_cast<T>(state.values[k]));
      hidden.values[k] = static_cast<Scalar>(result.hidden);
      cell.values[k] = static_cast<Scalar>(result.cell);
    }
    store<Scalar, width>(p.hidden + at, hidden);
    store<Scalar, width>(p.cell + at, cell);
  }

  static HF_INLINE void backward(const Pointers<Scalar>& p, Gate activation, Index inner, Index at) {
    const Index gate = at + at / inner * (gates - 1) * inner;
    const Values in = load<Scalar, width>(p.gates + gate), g = load<Scalar, width>(p.gates + gate + candidate * inner),
                 out = load<Scalar, width>(p.gates + gate + output * inner);
    Values forget{}, state{}, to_hidden{}, to_cell{};
    if constexpr (recurrence == Recurrence::state) {
      forget = load<Scalar, width>(p.gates + gate + inner);
      state = load<Scalar, width>(p.state + at);
    }
    if (p.grad_hidden != nullptr) to_hidden = load<Scalar, width>(p.grad_hidden + at);
    if (p.grad_cell != nullptr) to_cell = load<Scalar, width>(p.grad_cell + at);
    Values grad_in, grad_forget, grad_candidate, grad_out, grad_state;
    for (int k = 0; k < width; ++k) {
      const CellGradient<T> result = cell_backward<T, Math, recurrence>(
          activation, static_cast<T>(in.values[k]), static_cast<T>(forget.values[k]), static_cast<T>(g.values[k]),
          static_cast<T>(out.values[k]), static_cast<T>(state.values[k]), static_cast<T>(to_hidden.values[k]),
          static_cast<T>(to_cell.values[k]));
      grad_in.values[k] = static_cast<Scalar>(result.input);
      grad_forget.values[k] = static_cast<Scalar>(result.forget);
      grad_candidate.values[k] = static_cast<Scalar>(result.candidate);
      grad_out.values[k] = static_cast<Scalar>(result.output);
      grad_state.values[k] = static_cast<Scalar>(result.state);
    }
    store<Scalar, width>(p.grad_gates + gate, grad_in);
    store<Scalar, width>(p.grad_gates + gate + candidate * inner, grad_candidate);
    store<Scalar, width>(p.grad_gates + gate + output * inner, grad_out);
    if constexpr (recurrence != Recurrence::no_forget_gate) {
      store<Scalar, width>(p.grad_gates + gate + inner, grad_forget);
    }
    if constexpr (recurrence == Recurrence::state) store<Scalar, width>(p.grad_state + at, grad_state);
  }
};

template <typename K, bool backward, typename Scalar, int width, typename Index>
__global__ void __launch_bounds__(threads_per_block)
    cell_kernel(Pointers<Scalar> pointers, bool hard_sigmoid, Index inner, Index packets) {
  const typename K::Gate activation{hard_sigmoid};
  const Index step = static_cast<Index>(gridDim.x) * blockDim.x;
  for (Index packet = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; packet < packets; packet += step) {
    if constexpr (backward) {
      K::backward(pointers, activation, inner, packet * width);
    } else {
      K::forward(pointers, activation, inner, packet * width);
    }
  }
}

template <bool backward, Recurrence recurrence, int width, typename Index, typename Scalar>
void launch_as(const Pointers<Scalar>& pointers, int64_t rows, int64_t inner, bool hard_sigmoid, cudaStream_t stream) {
  using K = Kernel<Scalar, width, Index, recurrence>;
  const int64_t packets = rows * inner / width;
  auto kernel = cell_kernel<K, backward, Scalar, width, Index>;
  HF_LAUNCH(kernel, blocks_for(packets), threads_per_block, stream, pointers, hard_sigmoid, static_cast<Index>(inner),
            static_cast<Index>(packets));
}

template <typename Scalar>
bool aligned(const Pointers<Scalar>& p) {
  uintptr_t bits = 0;
  for (const void* pointer : {static_cast<const void*>(p.gates), static_cast<const void*>(p.state),
                              static_cast<const void*>(p.hidden), static_cast<const void*>(p.cell),
                              static_cast<const void*>(p.grad_hidden), static_cast<const void*>(p.grad_cell),
                              static_cast<const void*>(p.grad_gates), static_cast<const void*>(p.grad_state)}) {
    bits |= reinterpret_cast<uintptr_t>(pointer);
  }
  return bits % 16 == 0;
}

template <bool backward, Recurrence recurrence, typename Scalar>
void launch_for(const Pointers<Scalar>& pointers, int64_t rows, int64_t inner, bool hard_sigmoid, cudaStream_t stream) {
  constexpr int wide = 16 / sizeof(Scalar);
  if (inner % wide != 0 || !aligned(pointers)) {
    return launch_as<backward, recurrence, 1, int64_t>(pointers, rows, inner, hard_sigmoid, stream);
  }
  // 32-bit indices where they reach, with room for the last step of the loop over the grid: divisions are cheaper so.
  if (rows * inner * gate_count(recurrence) < (int64_t{1} << 30)) {
    return launch_as<backward, recurrence, wide, uint32_t>(pointers, rows, inner, hard_sigmoid, stream);
  }
  return launch_as<backward, recurrence, wide, int64_t>(pointers, rows, inner, hard_sigmoid, stream);
}

// Enqueue the forward or the backward pass over rows * inner cells. Nothing to do is no launch: CUDA refuses an empty
// grid.
template <bool backward, typename Scalar>
void launch(const Pointers<Scalar>& pointers, int64_t rows, int64_t inner, bool hard_sigmoid, Recurrence recurrence,
            cudaStream_t stream) {
  if (rows * inner == 0) return;
  switch (recurrence) {
    case Recurrence::no_forget_gate:
      return launch_for<backward, Recurrence::no_forget_gate>(pointers, rows, inner, hard_sigmoid, stream);
    case Recurrence::zero_state:
      return launch_for<backward, Recurrence::zero_state>(pointers, rows, inner, hard_sigmoid, stream);
    case Recurrence::state:
      return launch_for<backward, Recurrence::state>(pointers, rows, inner, hard_sigmoid, stream);
  }
}

}  // namespace hf_lesionseg::convlstm_cell
