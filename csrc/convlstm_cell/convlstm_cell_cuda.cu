// convlstm_cell and convlstm_cell_backward on CUDA. Their schemas are defined in Python, in ops/convlstm_cell.py.
#include "convlstm_cell.cuh"

#include "../cuda/device.h"
#include "../cuda/with_scalar.h"
#include "../op_library.h"
#include "tensors.h"

namespace hf_lesionseg::convlstm_cell {
namespace {

struct Buffers {
  const void *gates, *state;
  void *hidden, *cell;
  const void *grad_hidden, *grad_cell;
  void *grad_gates, *grad_state;
};

template <bool backward, typename Scalar>
void launch_typed(const CurrentDevice& device, const Cell& cell, const Buffers& b, bool hard_sigmoid) {
  const Pointers<Scalar> pointers{
      static_cast<const Scalar*>(b.gates),       static_cast<const Scalar*>(b.state),
      static_cast<Scalar*>(b.hidden),            static_cast<Scalar*>(b.cell),
      static_cast<const Scalar*>(b.grad_hidden), static_cast<const Scalar*>(b.grad_cell),
      static_cast<Scalar*>(b.grad_gates),        static_cast<Scalar*>(b.grad_state)};
  launch<backward>(pointers, cell.rows, cell.inner, hard_sigmoid, cell.recurrence, device.stream());
  device.check_launches();
}

template <bool backward>
void run(const CurrentDevice& device, const Cell& cell, const Buffers& buffers, bool hard_sigmoid) {
  with_scalar(cell.element,
              [&](auto scalar) { launch_typed<backward, decltype(scalar)>(device, cell, buffers, hard_sigmoid); });
}

std::tuple<Tensor, Tensor> forward(const Tensor& gates, const std::optional<Tensor>& cell_state, bool hard_sigmoid,
                                   bool forget_gate) {
  const Cell cell(gates, cell_state, forget_gate);
  const CurrentDevice device(cell.gates);
  Tensor hidden = cell.empty(cell.cell_shape), new_cell = cell.empty(cell.cell_shape);
  Buffers buffers{cell.gates.const_data_ptr(), data_or_null(cell.state)};
  buffers.hidden = hidden.mutable_data_ptr();
  buffers.cell = new_cell.mutable_data_ptr();
  run<false>(device, cell, buffers, hard_sigmoid);
  return {hidden, new_cell};
}

std::tuple<Tensor, Tensor> backward(const std::optional<Tensor>& grad_hidden, const std::optional<Tensor>& grad_cell,
                                    const Tensor& gates, const std::optional<Tensor>& cell_state, bool hard_sigmoid,
                                    bool forget_gate) {
  const Cell cell(gates, cell_state, forget_gate);
  const CurrentDevice device(cell.gates);
  const std::optional<Tensor> to_hidden = cell.like_cell(grad_hidden, "grad_hidden");
  const std::optional<Tensor> to_cell = cell.like_cell(grad_cell, "grad_cell");
  Tensor grad_gates = cell.empty(cell.gates_shape);
  Tensor grad_state = cell.state.has_value() ? cell.empty(cell.cell_shape) : cell.no_state_gradient();
  Buffers buffers{cell.gates.const_data_ptr(), data_or_null(cell.state)};
  buffers.grad_hidden = data_or_null(to_hidden);
  buffers.grad_cell = data_or_null(to_cell);
  buffers.grad_gates = grad_gates.mutable_data_ptr();
  buffers.grad_state = grad_state.mutable_data_ptr();
  run<true>(device, cell, buffers, hard_sigmoid);
  return {grad_gates, grad_state};
}

}  // namespace
}  // namespace hf_lesionseg::convlstm_cell

HF_IMPLEMENT_OPS(CUDA, m) {
  m.impl("convlstm_cell", TORCH_BOX(&hf_lesionseg::convlstm_cell::forward));
  m.impl("convlstm_cell_backward", TORCH_BOX(&hf_lesionseg::convlstm_cell::backward));
}
