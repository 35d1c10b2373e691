// convlstm_cell and convlstm_cell_backward on the CPU. Their schemas are defined in Python, in ops/convlstm_cell.py.
#include "../cpu/instruction_set.h"
#include "../op_library.h"
#include "cpu_kernels.h"
#include "tensors.h"

namespace hf_lesionseg::convlstm_cell {
namespace {

Loops loops_for(const Cell& cell, bool hard_sigmoid) {
  const Variant variant{cell.element, hard_sigmoid, cell.recurrence};
  Loops loops{nullptr, nullptr};
  if (instruction_set() == InstructionSet::avx512) loops = avx512_loops(variant);
  if (instruction_set() == InstructionSet::avx2) loops = avx2_loops(variant);
  return loops.forward != nullptr ? loops : plain_loops(variant);
}

Arguments arguments_of(const Cell& cell) {
  constexpr int64_t block = 2048;  // long enough to hide the calls, short enough to share out small maps
  Arguments arguments{};
  arguments.inner = cell.inner;
  arguments.block = block;
  arguments.blocks_per_row = (cell.inner + block - 1) / block;
  arguments.gates = cell.gates.const_data_ptr();
  arguments.state = data_or_null(cell.state);
  return arguments;
}

void run(Loop loop, const Cell& cell, const Arguments& arguments) {
  constexpr int64_t elements_per_thread = 8192;  // below this, waking a thread costs more than it saves
  if (cell.rows * cell.inner == 0) return;
  const int64_t elements_per_block = cell.inner < arguments.block ? cell.inner : arguments.block;
  const int64_t blocks_per_thread = (elements_per_thread - 1) / elements_per_block + 1;
  torch::stable::parallel_for(0, cell.rows * arguments.blocks_per_row, blocks_per_thread,
                              [&](int64_t begin, int64_t end) { loop(arguments, begin, end); });
}

std::tuple<Tensor, Tensor> forward(const Tensor& gates, const std::optional<Tensor>& cell_state, bool hard_sigmoid,
                                   bool forget_gate) {
  const Cell cell(gates, cell_state, forget_gate);
  Tensor hidden = cell.empty(cell.cell_shape), new_cell = cell.empty(cell.cell_shape);
  Arguments arguments = arguments_of(cell);
  arguments.hidden = hidden.mutable_data_ptr();
  arguments.cell = new_cell.mutable_data_ptr();
  run(loops_for(cell, hard_sigmoid).forward, cell, arguments);
  return {hidden, new_cell};
}

std::tuple<Tensor, Tensor> backward(const std::optional<Tensor>& grad_hidden, const std::optional<Tensor>& grad_cell,
                                    const Tensor& gates, const std::optional<Tensor>& cell_state, bool hard_sigmoid,
                                    bool forget_gate) {
  const Cell cell(gates, cell_state, forget_gate);
  const std::optional<Tensor> to_hidden = cell.like_cell(grad_hidden, "grad_hidden");
  const std::optional<Tensor> to_cell = cell.like_cell(grad_cell, "grad_cell");
  Tensor grad_gates = cell.empty(cell.gates_shape);
  Tensor grad_state = cell.state.has_value() ? cell.empty(cell.cell_shape) : cell.no_state_gradient();
  Arguments arguments = arguments_of(cell);
  arguments.grad_hidden = data_or_null(to_hidden);
  arguments.grad_cell = data_or_null(to_cell);
  arguments.grad_gates = grad_gates.mutable_data_ptr();
  arguments.grad_state = grad_state.mutable_data_ptr();
  run(loops_for(cell, hard_sigmoid).backward, cell, arguments);
  return {grad_gates, grad_state};
}

}  // namespace
}  // namespace hf_lesionseg::convlstm_cell

HF_IMPLEMENT_OPS(CPU, m) {
  // The plain loops lose to torch's own without AVX2 (float64 forward from the zero state: 0.73x), so that such a
  // processor stays with plain PyTorch: registering nothing is how backend() learns of it.
  if (!hf_lesionseg::beats_plain_pytorch()) return;
  m.impl("convlstm_cell", TORCH_BOX(&hf_lesionseg::convlstm_cell::forward));
  m.impl("convlstm_cell_backward", TORCH_BOX(&hf_lesionseg::convlstm_cell::backward));
}
