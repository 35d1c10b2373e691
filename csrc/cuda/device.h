// The device that a tensor lies on, made current for a while: what the bindings of all CUDA kernels begin and end with.
#pragma once

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>
#include <torch/csrc/stable/tensor.h>

#include "launch.cuh"

namespace hf_lesionseg {

#if defined(HF_CUDA_EMULATION)

class CurrentDevice {
 public:
  explicit CurrentDevice(const torch::stable::Tensor&) {}
  cudaStream_t stream() const { return nullptr; }
  void check_launches() const {}
};

#else

class CurrentDevice {
 public:
  explicit CurrentDevice(const torch::stable::Tensor& tensor)
      : index_(tensor.get_device_index()), guard_(tensor.get_device_index()) {}

  cudaStream_t stream() const {
    void* stream = nullptr;
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(index_, &stream));
    return static_cast<cudaStream_t>(stream);
  }

  // CUDA keeps the first error until it is asked for, so one question serves several launches. It does not wait.
  void check_launches() const { STD_CUDA_KERNEL_LAUNCH_CHECK(); }

 private:
  int32_t index_;
  torch::stable::accelerator::DeviceGuard guard_;
};

#endif

}  // namespace hf_lesionseg
