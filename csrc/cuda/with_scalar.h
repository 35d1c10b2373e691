// From the type of a tensor's elements to the type that CUDA kernels are written for.
#pragma once

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include "../common/element.h"

namespace hf_lesionseg {

// Calls `step` with a value of the type; only its type counts.
template <typename Step>
void with_scalar(Element element, const Step& step) {
  switch (element) {
    case Element::float32:
      return step(float{});
    case Element::float64:
      return step(double{});
    case Element::bfloat16:
      return step(torch::headeronly::BFloat16{});
    case Element::float16:
      return step(torch::headeronly::Half{});
  }
}

}  // namespace hf_lesionseg
