// The types of elements that the kernels know.
#pragma once

namespace hf_lesionseg {

enum class Element { float32, float64, bfloat16, float16 };

}  // namespace hf_lesionseg
