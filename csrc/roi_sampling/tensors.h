// What CPU and CUDA check of the tensors before they trust any pointer, and the sizes that follow.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <optional>
#include <tuple>

#include "sizes.h"

namespace hf_lesionseg::roi_sampling {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Python has already refused what does not fit with a kinder message; a direct call of the op must not read out of
// bounds.
inline void Sizes::check() const {
  constexpr int64_t limit = int64_t{1} << 30;  // positions along an axis are 32-bit, with room for padding
  STD_TORCH_CHECK(batch >= 0 && channels >= 0, "roi sampling: negative sizes");
  STD_TORCH_CHECK(small_height >= 1 && small_width >= 1 && large_height >= 0 && large_width >= 0 &&
                      small_height < limit && small_width < limit && large_height < limit && large_width < limit,
                  "roi sampling: sides of images and RoIs must be below 2^30 and those of RoIs at least 1");
}

inline torch::headeronly::IntHeaderOnlyArrayRef shape(const std::array<int64_t, 4>& size) {
  return {size.data(), size.size()};
}

inline std::array<int64_t, 4> rois_shape(const Sizes& s) { return {s.boxes, s.channels, s.small_height, s.small_width}; }
inline std::array<int64_t, 4> images_shape(const Sizes& s) {
  return {s.batch, s.channels, s.large_height, s.large_width};
}

inline void check_like(const Tensor& tensor, const Tensor& boxes, const std::array<int64_t, 4>& size) {
  STD_TORCH_CHECK(tensor.dim() == 4 && tensor.sizes().equals(shape(size)), "roi sampling: a tensor's shape does not fit");
  STD_TORCH_CHECK(tensor.is_cuda() == boxes.is_cuda() && tensor.get_device_index() == boxes.get_device_index(),
                  "roi sampling: tensors are on different devices");
}

inline void check_boxes(const Tensor& values, const Tensor& boxes, const Tensor& batch_indices) {
  STD_TORCH_CHECK(boxes.dim() == 2 && boxes.size(1) == 4, "roi sampling: boxes must be (rois, 4)");
  STD_TORCH_CHECK(batch_indices.dim() == 1 && batch_indices.size(0) == boxes.size(0),
                  "roi sampling: there must be as many batch indices as boxes");
  STD_TORCH_CHECK(batch_indices.scalar_type() == ScalarType::Long, "roi sampling: batch indices must be int64");
  const ScalarType wanted = values.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  STD_TORCH_CHECK(boxes.scalar_type() == wanted, "roi sampling: boxes must be float32, or float64 with float64 values");
  STD_TORCH_CHECK(batch_indices.is_cuda() == boxes.is_cuda() &&
                      batch_indices.get_device_index() == boxes.get_device_index(),
                  "roi sampling: tensors are on different devices");
  STD_TORCH_CHECK(values.dim() == 4, "roi sampling: images and RoIs must have 4 dimensions");
}

inline Tensor empty_like(const Tensor& model, const std::array<int64_t, 4>& size) {
  return torch::stable::new_empty(model, shape(size));
}

// A result that was not asked for: no elements.
inline Tensor nothing(const Tensor& model) { return torch::stable::new_empty(model, std::array<int64_t, 1>{0}); }

}  // namespace hf_lesionseg::roi_sampling
