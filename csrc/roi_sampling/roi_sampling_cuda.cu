// roi_sample, roi_paste and their backward on CUDA.
#include "roi_sampling.cuh"

#include "../cuda/device.h"
#include "../cuda/with_scalar.h"
#include "bindings.h"

namespace hf_lesionseg::roi_sampling {
namespace {

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
void launch_typed(const CurrentDevice& device, Call& call) {
  using T = typename Compute<Scalar>::Type;
  const Sizes& s = call.sizes;
  Pointers<Scalar> p{};
  p.boxes = static_cast<const T*>(call.boxes.const_data_ptr());
  p.batch_indices = static_cast<const int64_t*>(call.batch_indices.const_data_ptr());
  p.from = static_cast<const Scalar*>(data_or_null(call.from));
  p.to = static_cast<Scalar*>(mutable_data_or_null(call.to));
  p.grad = static_cast<const Scalar*>(data_or_null(call.grad));
  p.grad_from = static_cast<Scalar*>(mutable_data_or_null(call.grad_from));
  p.grad_boxes = static_cast<T*>(mutable_data_or_null(call.grad_boxes));
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
  const Tensor memory = workspace.allocate(call.boxes);
  lay_out();
  if constexpr (backward) {
    launch_backward<direction>(p, tables, s, device.stream());
  } else {
    launch_forward<direction>(p, tables, s, device.stream());
  }
  device.check_launches();
}

struct Cuda {
  template <Direction direction, bool backward>
  static void run(Call& call) {
    STD_TORCH_CHECK(call.sizes.boxes < (int64_t{1} << 31), "roi sampling: there are too many boxes");
    const CurrentDevice device(call.boxes);
    with_scalar(call.element,
                [&](auto scalar) { launch_typed<direction, backward, decltype(scalar)>(device, call); });
  }
};

}  // namespace
}  // namespace hf_lesionseg::roi_sampling

#if !defined(HF_CUDA_EMULATION)
HF_IMPLEMENT_OPS(CUDA, m) { hf_lesionseg::roi_sampling::Ops<hf_lesionseg::roi_sampling::Cuda>::implement(m); }
#endif
