// The loops over memory, for one instruction set: included after cpu/float_vector.h, in an unnamed namespace like it.
//
// Every element goes through the same vector arithmetic, the last few of a row in a vector filled up with zeros. So an
// element's result depends neither on its place nor on the number of threads.

namespace {

using hf_lesionseg::Recurrence;
namespace cell = hf_lesionseg::convlstm_cell;

// A vector, or its first `count` elements.
template <typename Pack, typename Scalar>
HF_INLINE typename Pack::Value load(const Scalar* from, int64_t count) {
  if (count == Pack::lanes) return Pack::load(from);
  Scalar padded[Pack::lanes] = {};
  std::memcpy(padded, from, count * sizeof(Scalar));
  return Pack::load(padded);
}

template <typename Pack, typename Scalar>
HF_INLINE void store(Scalar* to, typename Pack::Value values, int64_t count) {
  if (count == Pack::lanes) return Pack::store(to, values);
  Scalar padded[Pack::lanes];
  Pack::store(padded, values);
  std::memcpy(to, padded, count * sizeof(Scalar));
}

template <typename Pack, typename Scalar, typename Gate, Recurrence recurrence>
struct CellLoops {
  using Value = typename Pack::Value;
  static constexpr int gates = hf_lesionseg::gate_count(recurrence);
  static constexpr int candidate = hf_lesionseg::candidate_gate(recurrence);
  static constexpr int output = hf_lesionseg::output_gate(recurrence);

  // Calls step(first gate's offset, offset in the other tensors, count) for each vector of the blocks.
  template <typename Step>
  static HF_INLINE void for_each_vector(const cell::Arguments& a, int64_t begin, int64_t end, const Step& step) {
    int64_t row = begin / a.blocks_per_row, block = begin % a.blocks_per_row;
    for (int64_t index = begin; index < end; ++index) {
      const int64_t first = block * a.block, last = first + a.block < a.inner ? first + a.block : a.inner;
      const int64_t of_gates = row * gates * a.inner, of_cells = row * a.inner;
      int64_t at = first;
      for (; at + Pack::lanes <= last; at += Pack::lanes) step(of_gates + at, of_cells + at, Pack::lanes);
      if (at < last) step(of_gates + at, of_cells + at, last - at);
      if (++block == a.blocks_per_row) {
        block = 0;
        ++row;
      }
    }
  }

  static void forward(const cell::Arguments& a, int64_t begin, int64_t end) {
    const Scalar* from = static_cast<const Scalar*>(a.gates);
    const Scalar* state = static_cast<const Scalar*>(a.state);
    Scalar* hidden = static_cast<Scalar*>(a.hidden);
    Scalar* cell = static_cast<Scalar*>(a.cell);
    for_each_vector(a, begin, end, [&](int64_t gate, int64_t at, int64_t count) HF_LAMBDA_INLINE {
      Value forget{}, previous{};
      if constexpr (recurrence == Recurrence::state) {
        forget = load<Pack>(from + gate + a.inner, count);
        previous = load<Pack>(state + at, count);
      }
      const auto out = hf_lesionseg::cell_forward<Value, typename Pack::Math, recurrence>(
          Gate{}, load<Pack>(from + gate, count), forget, load<Pack>(from + gate + candidate * a.inner, count),
          load<Pack>(from + gate + output * a.inner, count), previous);
      store<Pack>(hidden + at, out.hidden, count);
      store<Pack>(cell + at, out.cell, count);
    });
  }

  static void backward(const cell::Arguments& a, int64_t begin, int64_t end) {
    const Scalar* from = static_cast<const Scalar*>(a.gates);
    const Scalar* state = static_cast<const Scalar*>(a.state);
    const Scalar* grad_hidden = static_cast<const Scalar*>(a.grad_hidden);
    const Scalar* grad_cell = static_cast<const Scalar*>(a.grad_cell);
    Scalar* to = static_cast<Scalar*>(a.grad_gates);
    Scalar* grad_state = static_cast<Scalar*>(a.grad_state);
    for_each_vector(a, begin, end, [&](int64_t gate, int64_t at, int64_t count) HF_LAMBDA_INLINE {
      Value forget{}, previous{};
      if constexpr (recurrence == Recurrence::state) {
        forget = load<Pack>(from + gate + a.inner, count);
        previous = load<Pack>(state + at, count);
      }
      const Value to_hidden = grad_hidden ? load<Pack>(grad_hidden + at, count) : Value{};
      const Value to_cell = grad_cell ? load<Pack>(grad_cell + at, count) : Value{};
      const auto gradient = hf_lesionseg::cell_backward<Value, typename Pack::Math, recurrence>(
          Gate{}, load<Pack>(from + gate, count), forget, load<Pack>(from + gate + candidate * a.inner, count),
          load<Pack>(from + gate + output * a.inner, count), previous, to_hidden, to_cell);
      store<Pack>(to + gate, gradient.input, count);
      store<Pack>(to + gate + candidate * a.inner, gradient.candidate, count);
      store<Pack>(to + gate + output * a.inner, gradient.output, count);
      if constexpr (recurrence != Recurrence::no_forget_gate) store<Pack>(to + gate + a.inner, gradient.forget, count);
      if constexpr (recurrence == Recurrence::state) store<Pack>(grad_state + at, gradient.state, count);
    });
  }
};

template <typename Pack, typename Scalar, typename Gate>
cell::Loops loops_of(Recurrence recurrence) {
  switch (recurrence) {
    case Recurrence::no_forget_gate: {
      using L = CellLoops<Pack, Scalar, Gate, Recurrence::no_forget_gate>;
      return {L::forward, L::backward};
    }
    case Recurrence::zero_state: {
      using L = CellLoops<Pack, Scalar, Gate, Recurrence::zero_state>;
      return {L::forward, L::backward};
    }
    case Recurrence::state: {
      using L = CellLoops<Pack, Scalar, Gate, Recurrence::state>;
      return {L::forward, L::backward};
    }
  }
  return {nullptr, nullptr};
}

template <typename Pack, typename Scalar>
cell::Loops loops_of(const cell::Variant& variant) {
  using Value = typename Pack::Value;
  using Math = typename Pack::Math;
  return variant.hard_sigmoid ? loops_of<Pack, Scalar, hf_lesionseg::HardSigmoid<Value, Math>>(variant.recurrence)
                              : loops_of<Pack, Scalar, hf_lesionseg::Sigmoid<Value, Math>>(variant.recurrence);
}

cell::Loops loops_of(const cell::Variant& variant) {
  switch (variant.element) {
    case cell::Element::float32:
      return loops_of<FloatPack<float>, float>(variant);
    case cell::Element::float64:
      return loops_of<FloatPack<double>, double>(variant);
    case cell::Element::bfloat16:
      return loops_of<FloatPack<BFloat16>, BFloat16>(variant);
    case cell::Element::float16:
      return loops_of<FloatPack<Half>, Half>(variant);
  }
  return {nullptr, nullptr};
}

}  // namespace
