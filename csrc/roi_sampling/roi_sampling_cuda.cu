// roi_sample, roi_paste and their backward on CUDA. Their schemas are defined in Python, in
// ops/roi_sampling.py.
#include "roi_sampling.cuh"

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include "../cuda/device.h"
#include "../op_library.h"
#include "tensors.h"

namespace hf_lesionseg::roi_sampling {
namespace {

// Untyped Pointers, without what only the launch allocates.
struct Buffers {
  const void *boxes, *batch_indices;
  const void* from;
  void* to;
  const void* grad;
  void* grad_from;
  void* grad_boxes;
};

// Memory for the tables, and for the intermediate results of a backward pass, in one allocation: it is counted first,
// then handed out. torch's allocator keeps it from others on this stream until the kernels are done.
class Workspace {
 public:
  template <typename Element>
  void take(Element*& pointer, int64_t count) {
    pointer = base_ == nullptr ? nullptr : reinterpret_cast<Element*>(base_ + used_);
    constexpr int64_t alignment = 16;
    used_ += (count * static_cast<int64_t>(sizeof(Element)) + alignment - 1) / alignment * alignment;
  }

  Tensor allocate(const Tensor& model) {
    Tensor bytes = torch::stable::new_empty(model, std::array<int64_t, 1>{used_}, ScalarType::Byte);
    base_ = static_cast<char*>(bytes.mutable_data_ptr());
    used_ = 0;
    return bytes;
  }

 private:
  char* base_ = nullptr;
  int64_t used_ = 0;
};

template <Direction direction, bool backward, typename Scalar>
void launch_typed(const CurrentDevice& device, const Tensor& values, const Sizes& s, const Buffers& b) {
  using T = typename Compute<Scalar>::Type;
  Pointers<Scalar> p{};
  p.boxes = static_cast<const T*>(b.boxes);
  p.batch_indices = static_cast<const int64_t*>(b.batch_indices);
  p.from = static_cast<const Scalar*>(b.from);
  p.to = static_cast<Scalar*>(b.to);
  p.grad = static_cast<const Scalar*>(b.grad);
  p.grad_from = static_cast<Scalar*>(b.grad_from);
  p.grad_boxes = static_cast<T*>(b.grad_boxes);
  Workspace workspace;
  Tables<T> tables;
  const auto lay_out = [&] {
    tables = tables_of<T>(direction, s, backward, [&](auto*& pointer, int64_t count) { workspace.take(pointer, count); });
    if (p.grad_boxes != nullptr) workspace.take(p.parts, s.boxes * parts_per_box(direction, s) * sides);
    if (backward && direction == Direction::paste && s.boxes > 1) {
      workspace.take(p.winner, s.batch * s.channels * s.large_height * s.large_width);
    }
  };
  lay_out();
  const Tensor memory = workspace.allocate(values);
  lay_out();
  if constexpr (backward) {
    launch_backward<direction>(p, tables, s, device.stream());
  } else {
    launch_forward<direction>(p, tables, s, device.stream());
  }
  device.check_launches();
}

template <Direction direction, bool backward>
void run(const CurrentDevice& device, const Tensor& values, const Sizes& s, const Buffers& buffers) {
  STD_TORCH_CHECK(s.boxes < (int64_t{1} << 31), "roi sampling: there are too many boxes");
  switch (values.scalar_type()) {
    case ScalarType::Float:
      return launch_typed<direction, backward, float>(device, values, s, buffers);
    case ScalarType::Double:
      return launch_typed<direction, backward, double>(device, values, s, buffers);
    case ScalarType::BFloat16:
      return launch_typed<direction, backward, torch::headeronly::BFloat16>(device, values, s, buffers);
    case ScalarType::Half:
      return launch_typed<direction, backward, torch::headeronly::Half>(device, values, s, buffers);
    default:
      STD_TORCH_CHECK(false, "roi sampling: images and RoIs must be float32, float64, bfloat16 or float16");
  }
}

Tensor sample(const Tensor& given_images, const Tensor& given_boxes, const Tensor& given_indices, int64_t height,
              int64_t width) {
  check_boxes(given_images, given_boxes, given_indices);
  const CurrentDevice device(given_images);
  const Tensor images = torch::stable::contiguous(given_images), boxes = torch::stable::contiguous(given_boxes);
  const Tensor indices = torch::stable::contiguous(given_indices);
  const Sizes s{boxes.size(0), images.size(0), images.size(1), height, width, images.size(2), images.size(3)};
  s.check();
  check_like(images, boxes, images_shape(s));
  Tensor rois = empty_like(images, rois_shape(s));
  Buffers buffers{boxes.const_data_ptr(), indices.const_data_ptr()};
  buffers.from = images.const_data_ptr();
  buffers.to = rois.mutable_data_ptr();
  run<Direction::sample, false>(device, images, s, buffers);
  return rois;
}

std::tuple<Tensor, Tensor> sample_backward(const Tensor& given_grad, const std::optional<Tensor>& given_images,
                                           const Tensor& given_boxes, const Tensor& given_indices, int64_t batch,
                                           int64_t height, int64_t width, bool to_images) {
  check_boxes(given_grad, given_boxes, given_indices);
  const CurrentDevice device(given_grad);
  const Tensor grad = torch::stable::contiguous(given_grad), boxes = torch::stable::contiguous(given_boxes);
  const Tensor indices = torch::stable::contiguous(given_indices);
  const Sizes s{boxes.size(0), batch, grad.size(1), grad.size(2), grad.size(3), height, width};
  s.check();
  check_like(grad, boxes, rois_shape(s));
  std::optional<Tensor> images;
  if (given_images.has_value()) {
    check_like(*given_images, boxes, images_shape(s));
    STD_TORCH_CHECK(given_images->scalar_type() == grad.scalar_type(), "roi sampling: images have another dtype");
    images = torch::stable::contiguous(*given_images);
  }
  Tensor grad_images = to_images ? empty_like(grad, images_shape(s)) : nothing(grad);
  Tensor grad_boxes = images.has_value() ? torch::stable::new_empty(boxes, boxes.sizes()) : nothing(boxes);
  Buffers buffers{boxes.const_data_ptr(), indices.const_data_ptr()};
  buffers.grad = grad.const_data_ptr();
  if (to_images) buffers.grad_from = grad_images.mutable_data_ptr();
  if (images.has_value()) {
    buffers.from = images->const_data_ptr();
    buffers.grad_boxes = grad_boxes.mutable_data_ptr();
  }
  run<Direction::sample, true>(device, grad, s, buffers);
  return {grad_images, grad_boxes};
}

Tensor paste(const Tensor& given_rois, const Tensor& given_boxes, const Tensor& given_indices, int64_t height,
             int64_t width, int64_t batch) {
  check_boxes(given_rois, given_boxes, given_indices);
  const CurrentDevice device(given_rois);
  const Tensor rois = torch::stable::contiguous(given_rois), boxes = torch::stable::contiguous(given_boxes);
  const Tensor indices = torch::stable::contiguous(given_indices);
  const Sizes s{boxes.size(0), batch, rois.size(1), rois.size(2), rois.size(3), height, width};
  s.check();
  check_like(rois, boxes, rois_shape(s));
  Tensor images = empty_like(rois, images_shape(s));
  Buffers buffers{boxes.const_data_ptr(), indices.const_data_ptr()};
  buffers.from = rois.const_data_ptr();
  buffers.to = images.mutable_data_ptr();
  run<Direction::paste, false>(device, rois, s, buffers);
  return images;
}

std::tuple<Tensor, Tensor> paste_backward(const Tensor& given_grad, const Tensor& given_rois,
                                          const Tensor& given_boxes, const Tensor& given_indices, bool to_rois,
                                          bool to_boxes) {
  check_boxes(given_rois, given_boxes, given_indices);
  STD_TORCH_CHECK(given_grad.dim() == 4 && given_grad.scalar_type() == given_rois.scalar_type(),
                  "roi sampling: the gradient does not fit the RoIs");
  const CurrentDevice device(given_rois);
  const Tensor grad = torch::stable::contiguous(given_grad), rois = torch::stable::contiguous(given_rois);
  const Tensor boxes = torch::stable::contiguous(given_boxes), indices = torch::stable::contiguous(given_indices);
  const Sizes s{boxes.size(0), grad.size(0), rois.size(1), rois.size(2), rois.size(3), grad.size(2), grad.size(3)};
  s.check();
  check_like(rois, boxes, rois_shape(s));
  check_like(grad, boxes, images_shape(s));
  Tensor grad_rois = to_rois ? empty_like(rois, rois_shape(s)) : nothing(rois);
  Tensor grad_boxes = to_boxes ? torch::stable::new_empty(boxes, boxes.sizes()) : nothing(boxes);
  Buffers buffers{boxes.const_data_ptr(), indices.const_data_ptr()};
  buffers.from = rois.const_data_ptr();
  buffers.grad = grad.const_data_ptr();
  if (to_rois) buffers.grad_from = grad_rois.mutable_data_ptr();
  if (to_boxes) buffers.grad_boxes = grad_boxes.mutable_data_ptr();
  run<Direction::paste, true>(device, rois, s, buffers);
  return {grad_rois, grad_boxes};
}

}  // namespace
}  // namespace hf_lesionseg::roi_sampling

#if !defined(HF_CUDA_EMULATION)
HF_IMPLEMENT_OPS(CUDA, m) {
  m.impl("roi_sample", TORCH_BOX(&hf_lesionseg::roi_sampling::sample));
  m.impl("roi_sample_backward", TORCH_BOX(&hf_lesionseg::roi_sampling::sample_backward));
  m.impl("roi_paste", TORCH_BOX(&hf_lesionseg::roi_sampling::paste));
  m.impl("roi_paste_backward", TORCH_BOX(&hf_lesionseg::roi_sampling::paste_backward));
}
#endif
