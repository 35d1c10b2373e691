// The arithmetic of the ConvLSTM cell, once for every processor.
//
// `T` is a float, a double or a vector of floats; `Math` supplies sigmoid, hard_sigmoid, their slopes and tanh for it.
// The CPU loops use it with vectors, the CUDA kernels with float and double.
#pragma once

#include <cmath>

#include "../common/host_device.h"

namespace hf_lesionseg {

// Where the cell state of the step before comes from.
enum class Recurrence {
  no_forget_gate,  // zero state, gates i, g, o
  zero_state,      // zero state, gates i, f, g, o; the forget gate is not read
  state,           // gates i, f, g, o and a cell state
};

constexpr int gate_count(Recurrence recurrence) { return recurrence == Recurrence::no_forget_gate ? 3 : 4; }
constexpr int candidate_gate(Recurrence recurrence) { return recurrence == Recurrence::no_forget_gate ? 1 : 2; }
constexpr int output_gate(Recurrence recurrence) { return recurrence == Recurrence::no_forget_gate ? 2 : 3; }

// Math of single numbers, float or double.
template <typename T>
struct ScalarMath {
  static HF_INLINE T exponential(T x) { return std::exp(x); }
  static HF_INLINE T tanh(T x) { return std::tanh(x); }
  static HF_INLINE T select_between(T x, T low, T high, T inside, T outside) {
    return x >= low && x <= high ? inside : outside;
  }
  // Comparisons that are false for NaN leave it as it is.
  static HF_INLINE T clamp(T x, T low, T high) { return x < low ? low : (x > high ? high : x); }
  static HF_INLINE T splat(double value) { return static_cast<T>(value); }
};

// Keras 2's hard sigmoid, clip(0.2 x + 0.5, 0, 1).
template <typename T, typename Math>
struct HardSigmoid {
  static HF_INLINE T value(T x) {
    return Math::clamp(Math::splat(0.2) * x + Math::splat(0.5), Math::splat(0.0), Math::splat(1.0));
  }
  // Like torch.clamp, the two corners count as inside. Asked of x: 0.2 x + 0.5 may be rounded, fused or not.
  static HF_INLINE T slope(T x, T) {
    return Math::select_between(x, Math::splat(-2.5), Math::splat(2.5), Math::splat(0.2), Math::splat(0.0));
  }
};

template <typename T, typename Math>
struct Sigmoid {
  static HF_INLINE T value(T x) { return Math::splat(1.0) / (Math::splat(1.0) + Math::exponential(-x)); }
  static HF_INLINE T slope(T, T activated) { return activated * (Math::splat(1.0) - activated); }
};

// Either of them, chosen by a flag: what a GPU does, where the same branch for all threads costs nothing and compiling
// each kernel twice does.
template <typename T, typename Math>
struct EitherSigmoid {
  bool hard;
  HF_INLINE T value(T x) const { return hard ? HardSigmoid<T, Math>::value(x) : Sigmoid<T, Math>::value(x); }
  HF_INLINE T slope(T x, T activated) const {
    return hard ? HardSigmoid<T, Math>::slope(x, activated) : Sigmoid<T, Math>::slope(x, activated);
  }
};

template <typename T>
struct CellOutput {
  T hidden, cell;
};

// cell = f * state + i * tanh(g), hidden = o * tanh(cell).
template <typename T, typename Math, Recurrence recurrence, typename Gate>
HF_INLINE CellOutput<T> cell_forward(Gate gate, T input, T forget, T candidate, T output, T state) {
  T cell = gate.value(input) * Math::tanh(candidate);
  if constexpr (recurrence == Recurrence::state) cell = gate.value(forget) * state + cell;
  return {gate.value(output) * Math::tanh(cell), cell};
}

template <typename T>
struct CellGradient {
  T input, forget, candidate, output, state;
};

// Gradients to the gates before activation and to the state. Everything of the forward pass is computed anew.
template <typename T, typename Math, Recurrence recurrence, typename Gate>
HF_INLINE CellGradient<T> cell_backward(Gate gate, T input, T forget, T candidate, T output, T state, T grad_hidden,
                                        T grad_cell) {
  const T one = Math::splat(1.0), zero = Math::splat(0.0);
  const T i = gate.value(input), g = Math::tanh(candidate), o = gate.value(output);
  T f = zero, cell = i * g;
  if constexpr (recurrence == Recurrence::state) {
    f = gate.value(forget);
    cell = f * state + cell;
  }
  const T tanh_cell = Math::tanh(cell);
  const T total = grad_cell + grad_hidden * o * (one - tanh_cell * tanh_cell);
  CellGradient<T> gradient;
  gradient.input = total * g * gate.slope(input, i);
  gradient.candidate = total * i * (one - g * g);
  gradient.output = grad_hidden * tanh_cell * gate.slope(output, o);
  gradient.forget = gradient.state = zero;
  if constexpr (recurrence == Recurrence::state) {
    gradient.forget = total * state * gate.slope(forget, f);
    gradient.state = total * f;
  }
  return gradient;
}

}  // namespace hf_lesionseg
