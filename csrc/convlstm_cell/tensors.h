// From torch's tensors to rows of gates: checks, memory formats and outputs, the same for CPU and CUDA.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <optional>
#include <tuple>

#include "../common/tensors.h"
#include "arithmetic.h"

namespace hf_lesionseg::convlstm_cell {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// True where the channels lie next to each other, as torch's is_contiguous(memory_format=channels_last) has it.
inline bool is_channels_last(const Tensor& tensor) {
  int64_t expected = 1;
  for (const int dim : {1, 3, 2, 0}) {
    const int64_t size = tensor.size(dim);
    if (size == 1) continue;
    if (tensor.stride(dim) != expected) return false;
    expected *= size;
  }
  return true;
}

// One call's tensors, all in the memory format of the gates. Holding the (possibly copied) inputs keeps them alive.
struct Cell {
  Element element;
  Recurrence recurrence;
  MemoryFormat format;
  std::array<int64_t, 4> gates_shape, cell_shape;
  int64_t rows, inner;
  Tensor gates;
  std::optional<Tensor> state;

  Cell(const Tensor& given_gates, const std::optional<Tensor>& given_state, bool forget_gate)
      : element(element_of(given_gates, "convlstm_cell")),
        recurrence(!forget_gate ? Recurrence::no_forget_gate
                                : (given_state.has_value() ? Recurrence::state : Recurrence::zero_state)),
        gates(given_gates) {
    // Python has already refused these with a kinder message; a direct call of the op must not read out of bounds.
    STD_TORCH_CHECK(gates.dim() == 4, "convlstm_cell: gates must have 4 dimensions");
    const int64_t count = gate_count(recurrence);
    STD_TORCH_CHECK(gates.size(1) % count == 0, "convlstm_cell: gates must have a multiple of ", count, " channels");
    STD_TORCH_CHECK(forget_gate || !given_state.has_value(), "convlstm_cell: a cell state needs a forget gate");
    gates_shape = {gates.size(0), gates.size(1), gates.size(2), gates.size(3)};
    cell_shape = {gates_shape[0], gates_shape[1] / count, gates_shape[2], gates_shape[3]};
    format = !gates.is_contiguous() && is_channels_last(gates) ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
    const int64_t pixels = cell_shape[2] * cell_shape[3];
    rows = format == MemoryFormat::ChannelsLast ? cell_shape[0] * pixels : cell_shape[0];
    inner = format == MemoryFormat::ChannelsLast ? cell_shape[1] : cell_shape[1] * pixels;
    gates = torch::stable::contiguous(gates, format);
    state = like_cell(given_state, "cell_state");
  }

  // A tensor of the cell's shape, brought to the common memory format.
  std::optional<Tensor> like_cell(const std::optional<Tensor>& tensor, const char* name) const {
    if (!tensor.has_value()) return std::nullopt;
    STD_TORCH_CHECK(tensor->sizes().equals(shape(cell_shape)), "convlstm_cell: ", name, " does not fit the gates");
    STD_TORCH_CHECK(tensor->scalar_type() == gates.scalar_type(), "convlstm_cell: ", name, " has another dtype");
    STD_TORCH_CHECK(on_same_device(*tensor, gates), "convlstm_cell: ", name, " is on another device");
    return torch::stable::contiguous(*tensor, format);
  }

  Tensor empty(const std::array<int64_t, 4>& size) const {
    return torch::stable::empty(shape(size), gates.scalar_type(), std::nullopt, gates.device(), std::nullopt, format);
  }

  // The gradient of a state that was not given: no elements.
  Tensor no_state_gradient() const { return torch::stable::new_empty(gates, std::array<int64_t, 1>{0}); }
};

}  // namespace hf_lesionseg::convlstm_cell
