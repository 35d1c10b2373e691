// What the bindings of every kernel ask of tensors.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <array>
#include <optional>

#include "element.h"

namespace hf_lesionseg {

// `op` begins the message where no kernel computes in the type.
inline Element element_of(const torch::stable::Tensor& tensor, const char* op) {
  using torch::headeronly::ScalarType;
  switch (tensor.scalar_type()) {
    case ScalarType::Float:
      return Element::float32;
    case ScalarType::Double:
      return Element::float64;
    case ScalarType::BFloat16:
      return Element::bfloat16;
    case ScalarType::Half:
      return Element::float16;
    default:
      STD_TORCH_CHECK(false, op, ": tensors must be float32, float64, bfloat16 or float16");
  }
}

inline bool on_same_device(const torch::stable::Tensor& a, const torch::stable::Tensor& b) {
  return a.is_cuda() == b.is_cuda() && a.get_device_index() == b.get_device_index();
}

inline torch::headeronly::IntHeaderOnlyArrayRef shape(const std::array<int64_t, 4>& size) {
  return {size.data(), size.size()};
}

inline const void* data_or_null(const std::optional<torch::stable::Tensor>& tensor) {
  return tensor.has_value() ? tensor->const_data_ptr() : nullptr;
}

inline void* mutable_data_or_null(std::optional<torch::stable::Tensor>& tensor) {
  return tensor.has_value() ? tensor->mutable_data_ptr() : nullptr;
}

}  // namespace hf_lesionseg
