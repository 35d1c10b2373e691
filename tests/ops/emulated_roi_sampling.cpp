// RoI sampling and pasting on CUDA, binding and kernels, run on the CPU: the ops of hf_lesionseg under another name.
#include "roi_sampling/roi_sampling_cuda.cu"

extern "C" {

// Order of threads, and a limit on the blocks of a launch (0: none).
void configure(int descending, unsigned grid_limit) {
  cuda_emulation::descending = descending != 0;
  cuda_emulation::grid_limit = grid_limit;
}

int64_t launches() { return cuda_emulation::launches; }

}  // extern "C"

STABLE_TORCH_LIBRARY(hf_lesionseg_emulated, m) {
  m.def("roi_sample(Tensor images, Tensor boxes, Tensor batch_indices, SymInt height, SymInt width) -> Tensor");
  m.def(
      "roi_sample_backward(Tensor grad, Tensor? images, Tensor boxes, Tensor batch_indices, SymInt batch, "
      "SymInt height, SymInt width, bool to_images) -> (Tensor, Tensor)");
  m.def(
      "roi_paste(Tensor rois, Tensor boxes, Tensor batch_indices, SymInt height, SymInt width, SymInt batch) -> Tensor");
  m.def(
      "roi_paste_backward(Tensor grad, Tensor rois, Tensor boxes, Tensor batch_indices, bool to_rois, "
      "bool to_boxes) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(hf_lesionseg_emulated, CPU, m) {
  hf_lesionseg::roi_sampling::Ops<hf_lesionseg::roi_sampling::Cuda>::implement(m);
}
