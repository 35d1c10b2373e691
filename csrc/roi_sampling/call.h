// What a call of an op is given and what it makes: checked before any pointer is trusted, the same for CPU and CUDA.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <array>
#include <optional>
#include <tuple>

#include "../common/tensors.h"
#include "sizes.h"

namespace hf_lesionseg::roi_sampling {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline void Sizes::check() const {
  constexpr int64_t limit = int64_t{1} << 30;  // positions along an axis are 32-bit, with room for padding
  STD_TORCH_CHECK(batch >= 0 && channels >= 0, "roi sampling: negative sizes");
  STD_TORCH_CHECK(small_height >= 1 && small_width >= 1 && large_height >= 0 && large_width >= 0 &&
                      small_height < limit && small_width < limit && large_height < limit && large_width < limit,
                  "roi sampling: sides of images and RoIs must be below 2^30 and those of RoIs at least 1");
}

// One call's tensors, all contiguous. Holding the (possibly copied) inputs keeps them alive. Python has already refused
// what does not fit with a kinder message; a direct call of the op must not read out of bounds.
struct __attribute__((visibility("hidden"))) Call {  // hidden like the Tensor of the stable ABI
  Element element;
  ScalarType dtype;  // of images, RoIs and their gradients
  Sizes sizes{};
  Tensor boxes, batch_indices;
  std::optional<Tensor> from;                   // the values that are interpolated; backward: where boxes need them
  std::optional<Tensor> to;                     // forward
  std::optional<Tensor> grad;                   // backward: the gradient of `to`
  std::optional<Tensor> grad_from, grad_boxes;  // backward: those that are wanted

  // `values` are the images or RoIs, or the gradient, that tell the sizes.
  Call(const Tensor& values, const Tensor& given_boxes, const Tensor& given_indices)
      : element(element_of(values, "roi sampling")),
        dtype(values.scalar_type()),
        boxes(given_boxes),
        batch_indices(given_indices) {
    STD_TORCH_CHECK(values.dim() == 4, "roi sampling: images and RoIs must have 4 dimensions");
    STD_TORCH_CHECK(boxes.dim() == 2 && boxes.size(1) == 4, "roi sampling: boxes must be (rois, 4)");
    STD_TORCH_CHECK(batch_indices.dim() == 1 && batch_indices.size(0) == boxes.size(0),
                    "roi sampling: there must be as many batch indices as boxes");
    STD_TORCH_CHECK(batch_indices.scalar_type() == ScalarType::Long, "roi sampling: batch indices must be int64");
    const ScalarType wanted = element == Element::float64 ? ScalarType::Double : ScalarType::Float;
    STD_TORCH_CHECK(boxes.scalar_type() == wanted,
                    "roi sampling: boxes must be float32, or float64 with float64 values");
    STD_TORCH_CHECK(on_same_device(batch_indices, boxes), "roi sampling: tensors are on different devices");
    boxes = torch::stable::contiguous(boxes);
    batch_indices = torch::stable::contiguous(batch_indices);
  }

  // `small` and `large` are (height, width) of RoIs and images.
  void set_sizes(int64_t batch, int64_t channels, std::array<int64_t, 2> small, std::array<int64_t, 2> large) {
    sizes = {boxes.size(0), batch, channels, small[0], small[1], large[0], large[1]};
    sizes.check();
  }

  // Images or RoIs, or their gradients, that were given.
  Tensor images(const Tensor& given) const { return values(given, images_shape()); }
  Tensor rois(const Tensor& given) const { return values(given, rois_shape()); }

  Tensor new_images() const { return torch::stable::new_empty(boxes, shape(images_shape()), dtype); }
  Tensor new_rois() const { return torch::stable::new_empty(boxes, shape(rois_shape()), dtype); }
  Tensor new_boxes() const { return torch::stable::new_empty(boxes, boxes.sizes()); }

  // Gradients, with no elements in place of those that are not wanted.
  std::tuple<Tensor, Tensor> gradients() const {
    const std::array<int64_t, 1> none{0};
    return {grad_from.has_value() ? *grad_from : torch::stable::new_empty(boxes, none, dtype),
            grad_boxes.has_value() ? *grad_boxes : torch::stable::new_empty(boxes, none)};
  }

 private:
  std::array<int64_t, 4> rois_shape() const {
    return {sizes.boxes, sizes.channels, sizes.small_height, sizes.small_width};
  }
  std::array<int64_t, 4> images_shape() const {
    return {sizes.batch, sizes.channels, sizes.large_height, sizes.large_width};
  }

  Tensor values(const Tensor& given, const std::array<int64_t, 4>& size) const {
    STD_TORCH_CHECK(given.dim() == 4 && given.sizes().equals(shape(size)),
                    "roi sampling: a tensor's shape does not fit");
    STD_TORCH_CHECK(given.scalar_type() == dtype, "roi sampling: images, RoIs and gradients have different dtypes");
    STD_TORCH_CHECK(on_same_device(given, boxes), "roi sampling: tensors are on different devices");
    return torch::stable::contiguous(given);
  }
};

}  // namespace hf_lesionseg::roi_sampling
