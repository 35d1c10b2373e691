// roi_sample, roi_paste and their backward, but for the kernels. Their schemas are defined in Python, in
// ops/roi_sampling.py.
#pragma once

#include "../op_library.h"
#include "axis.h"
#include "call.h"

namespace hf_lesionseg::roi_sampling {

inline std::array<int64_t, 2> plane_of(const Tensor& values) { return {values.size(2), values.size(3)}; }

// The ops on a processor, whose `run<direction, backward>(call)` fills the results of a call.
template <typename Processor>
struct Ops {
  static Tensor sample(const Tensor& images, const Tensor& boxes, const Tensor& batch_indices, int64_t height,
                       int64_t width) {
    Call call(images, boxes, batch_indices);
    call.set_sizes(images.size(0), images.size(1), {height, width}, plane_of(images));
    call.from = call.images(images);
    call.to = call.new_rois();
    Processor::template run<Direction::sample, false>(call);
    return *call.to;
  }

  // The boxes get a gradient where images are given.
  static std::tuple<Tensor, Tensor> sample_backward(const Tensor& grad, const std::optional<Tensor>& images,
                                                    const Tensor& boxes, const Tensor& batch_indices, int64_t batch,
                                                    int64_t height, int64_t width, bool to_images) {
    Call call(grad, boxes, batch_indices);
    call.set_sizes(batch, grad.size(1), plane_of(grad), {height, width});
    call.grad = call.rois(grad);
    if (images.has_value()) {
      call.from = call.images(*images);
      call.grad_boxes = call.new_boxes();
    }
    if (to_images) call.grad_from = call.new_images();
    Processor::template run<Direction::sample, true>(call);
    return call.gradients();
  }

  static Tensor paste(const Tensor& rois, const Tensor& boxes, const Tensor& batch_indices, int64_t height,
                      int64_t width, int64_t batch) {
    Call call(rois, boxes, batch_indices);
    call.set_sizes(batch, rois.size(1), plane_of(rois), {height, width});
    call.from = call.rois(rois);
    call.to = call.new_images();
    Processor::template run<Direction::paste, false>(call);
    return *call.to;
  }

  static std::tuple<Tensor, Tensor> paste_backward(const Tensor& grad, const Tensor& rois, const Tensor& boxes,
                                                   const Tensor& batch_indices, bool to_rois, bool to_boxes) {
    STD_TORCH_CHECK(grad.dim() == 4, "roi sampling: images and RoIs must have 4 dimensions");
    Call call(rois, boxes, batch_indices);
    call.set_sizes(grad.size(0), rois.size(1), plane_of(rois), plane_of(grad));
    call.from = call.rois(rois);
    call.grad = call.images(grad);
    if (to_rois) call.grad_from = call.new_rois();
    if (to_boxes) call.grad_boxes = call.new_boxes();
    Processor::template run<Direction::paste, true>(call);
    return call.gradients();
  }

  // Registers them with a library of torch ops.
  template <typename Library>
  static void implement(Library& library) {
    library.impl("roi_sample", TORCH_BOX(&Ops::sample));
    library.impl("roi_sample_backward", TORCH_BOX(&Ops::sample_backward));
    library.impl("roi_paste", TORCH_BOX(&Ops::paste));
    library.impl("roi_paste_backward", TORCH_BOX(&Ops::paste_backward));
  }
};

}  // namespace hf_lesionseg::roi_sampling
