// The type of a tensor's elements, for the choice of CPU loops.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include "element.h"

namespace hf_lesionseg {

// `op` begins the message where there are no loops for the type.
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

}  // namespace hf_lesionseg
