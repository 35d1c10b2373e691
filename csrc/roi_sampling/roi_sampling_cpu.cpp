// roi_sample, roi_paste and their backward on the CPU. Their schemas are defined in Python, in
// ops/roi_sampling.py.
#include <memory>
#include <vector>

#include "../cpu/element_of.h"
#include "../cpu/instruction_set.h"
#include "../op_library.h"
#include "regions.h"
#include "tensors.h"

namespace hf_lesionseg::roi_sampling {
namespace {

AllLoops loops_for(const Tensor& values) {
  const Element element = element_of(values, "roi sampling");
  switch (instruction_set()) {
    case InstructionSet::avx512:
      return avx512_loops(element);
    case InstructionSet::avx2:
      return avx2_loops(element);
    default:
      return plain_loops(element);
  }
}

template <typename T>
Loops<T> of_type(const AllLoops& all) {
  if constexpr (std::is_same_v<T, double>) {
    return all.of_double;
  } else {
    return all.of_float;
  }
}

// The boxes are shared out to torch's threads too.
template <typename T>
Regions<T> regions_of(Direction direction, const Tensor& boxes, const Tensor& batch_indices, const Sizes& s, int lanes,
                      bool backward) {
  return {direction, static_cast<const T*>(boxes.const_data_ptr()),
          static_cast<const int64_t*>(batch_indices.const_data_ptr()), s, lanes, backward,
          [](int64_t begin, int64_t end, int64_t grain, const auto& step) {
            torch::stable::parallel_for(begin, end, grain, step);
          }};
}

// Shares planes out to torch's threads, each with a scratch of its own.
template <typename T>
void run(Loop<T> loop, const Arguments<T>& a, int64_t planes, int64_t work, int64_t scratch) {
  constexpr int64_t work_per_thread = 8192;  // outputs; below this, waking a thread costs more than it saves
  const int64_t grain = std::max<int64_t>(1, work_per_thread / std::max<int64_t>(1, work));
  torch::stable::parallel_for(0, planes, grain, [&](int64_t begin, int64_t end) {
    const std::unique_ptr<T[]> memory(new T[scratch]);
    loop(a, memory.get(), begin, end);
  });
}

template <typename T>
Tensor sum_over_channels(const std::vector<double>& parts, const Tensor& boxes, int64_t channels) {
  Tensor sums = torch::stable::new_empty(boxes, boxes.sizes());
  T* to = static_cast<T*>(sums.mutable_data_ptr());
  for (int64_t at = 0; at < boxes.numel(); ++at) {
    const double* part = parts.data() + at / 4 * channels * 4 + at % 4;
    double sum = 0;
    for (int64_t channel = 0; channel < channels; ++channel) sum += part[4 * channel];
    to[at] = static_cast<T>(sum);
  }
  return sums;
}

template <typename Step>
auto with_arithmetic(const Tensor& values, const Step& step) {
  return values.scalar_type() == ScalarType::Double ? step(double{}) : step(float{});
}

Tensor sample(const Tensor& given_images, const Tensor& given_boxes, const Tensor& given_indices, int64_t height,
              int64_t width) {
  check_boxes(given_images, given_boxes, given_indices);
  const Tensor images = torch::stable::contiguous(given_images), boxes = torch::stable::contiguous(given_boxes);
  const Tensor indices = torch::stable::contiguous(given_indices);
  const Sizes s{boxes.size(0), images.size(0), images.size(1), height, width, images.size(2), images.size(3)};
  s.check();
  const AllLoops loops = loops_for(images);
  Tensor rois = empty_like(images, rois_shape(s));
  with_arithmetic(images, [&]<typename T>(T) {
    const Regions<T> regions = regions_of<T>(Direction::sample, boxes, indices, s, loops.lanes, false);
    Arguments<T> a = regions.arguments(s);
    a.from = images.const_data_ptr();
    a.to = rois.mutable_data_ptr();
    run(of_type<T>(loops).sample, a, s.boxes * s.channels, height * width,
        scratch_size(a, element_of(images, "roi sampling"), Direction::sample, false));
    return 0;
  });
  return rois;
}

std::tuple<Tensor, Tensor> sample_backward(const Tensor& given_grad, const std::optional<Tensor>& given_images,
                                           const Tensor& given_boxes, const Tensor& given_indices, int64_t batch,
                                           int64_t height, int64_t width, bool to_images) {
  check_boxes(given_grad, given_boxes, given_indices);
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
  const AllLoops loops = loops_for(grad);
  Tensor grad_images = to_images ? empty_like(grad, images_shape(s)) : nothing(grad);
  Tensor grad_boxes = nothing(boxes);
  with_arithmetic(grad, [&]<typename T>(T) {
    const Regions<T> regions = regions_of<T>(Direction::sample, boxes, indices, s, loops.lanes, true);
    std::vector<double> parts(images.has_value() ? s.boxes * s.channels * 4 : 0, 0.0);
    Arguments<T> a = regions.arguments(s);
    a.grad = grad.const_data_ptr();
    if (to_images) a.grad_from = grad_images.mutable_data_ptr();
    if (images.has_value()) {
      a.from = images->const_data_ptr();
      a.grad_boxes = parts.data();
    }
    const int64_t boxes_per_image = s.batch > 0 ? s.boxes / s.batch + 1 : 0;
    run(of_type<T>(loops).sample_backward, a, s.batch * s.channels, boxes_per_image * grad.size(2) * grad.size(3),
        scratch_size(a, element_of(grad, "roi sampling"), Direction::sample, true));
    if (images.has_value()) grad_boxes = sum_over_channels<T>(parts, boxes, s.channels);
    return 0;
  });
  return {grad_images, grad_boxes};
}

Tensor paste(const Tensor& given_rois, const Tensor& given_boxes, const Tensor& given_indices, int64_t height,
             int64_t width, int64_t batch) {
  check_boxes(given_rois, given_boxes, given_indices);
  const Tensor rois = torch::stable::contiguous(given_rois), boxes = torch::stable::contiguous(given_boxes);
  const Tensor indices = torch::stable::contiguous(given_indices);
  const Sizes s{boxes.size(0), batch, rois.size(1), rois.size(2), rois.size(3), height, width};
  s.check();
  check_like(rois, boxes, rois_shape(s));
  const AllLoops loops = loops_for(rois);
  Tensor images = empty_like(rois, images_shape(s));
  with_arithmetic(rois, [&]<typename T>(T) {
    const Regions<T> regions = regions_of<T>(Direction::paste, boxes, indices, s, loops.lanes, false);
    Arguments<T> a = regions.arguments(s);
    a.from = rois.const_data_ptr();
    a.to = images.mutable_data_ptr();
    run(of_type<T>(loops).paste, a, s.batch * s.channels, height * width,
        scratch_size(a, element_of(rois, "roi sampling"), Direction::paste, false));
    return 0;
  });
  return images;
}

std::tuple<Tensor, Tensor> paste_backward(const Tensor& given_grad, const Tensor& given_rois,
                                          const Tensor& given_boxes, const Tensor& given_indices, bool to_rois,
                                          bool to_boxes) {
  check_boxes(given_rois, given_boxes, given_indices);
  STD_TORCH_CHECK(given_grad.dim() == 4 && given_grad.scalar_type() == given_rois.scalar_type(),
                  "roi sampling: the gradient does not fit the RoIs");
  const Tensor grad = torch::stable::contiguous(given_grad), rois = torch::stable::contiguous(given_rois);
  const Tensor boxes = torch::stable::contiguous(given_boxes), indices = torch::stable::contiguous(given_indices);
  const Sizes s{boxes.size(0), grad.size(0), rois.size(1), rois.size(2), rois.size(3), grad.size(2), grad.size(3)};
  s.check();
  check_like(rois, boxes, rois_shape(s));
  check_like(grad, boxes, images_shape(s));
  const AllLoops loops = loops_for(rois);
  // Zeros for RoIs without an image, which no thread visits.
  Tensor grad_rois = to_rois ? torch::stable::new_zeros(rois, rois.sizes()) : nothing(rois);
  Tensor grad_boxes = nothing(boxes);
  with_arithmetic(rois, [&]<typename T>(T) {
    const Regions<T> regions = regions_of<T>(Direction::paste, boxes, indices, s, loops.lanes, true);
    std::vector<double> parts(to_boxes ? s.boxes * s.channels * 4 : 0, 0.0);
    Arguments<T> a = regions.arguments(s);
    a.from = rois.const_data_ptr();
    a.grad = grad.const_data_ptr();
    if (to_rois) a.grad_from = grad_rois.mutable_data_ptr();
    if (to_boxes) a.grad_boxes = parts.data();
    run(of_type<T>(loops).paste_backward, a, s.batch * s.channels, s.large_height * s.large_width,
        scratch_size(a, element_of(rois, "roi sampling"), Direction::paste, true));
    if (to_boxes) grad_boxes = sum_over_channels<T>(parts, boxes, s.channels);
    return 0;
  });
  return {grad_rois, grad_boxes};
}

}  // namespace
}  // namespace hf_lesionseg::roi_sampling

HF_IMPLEMENT_OPS(CPU, m) {
  // On every processor, unlike the cell: on one without AVX2 the plain loops beat grid_sample too, in every dtype: 2.9x
  // and more on images of 56 x 44 to 224 x 176 (one thread, torch 2.13), 1.1x for one RoI of 4 x 4.
  m.impl("roi_sample", TORCH_BOX(&hf_lesionseg::roi_sampling::sample));
  m.impl("roi_sample_backward", TORCH_BOX(&hf_lesionseg::roi_sampling::sample_backward));
  m.impl("roi_paste", TORCH_BOX(&hf_lesionseg::roi_sampling::paste));
  m.impl("roi_paste_backward", TORCH_BOX(&hf_lesionseg::roi_sampling::paste_backward));
}
