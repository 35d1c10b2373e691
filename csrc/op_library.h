// The library of torch ops that the kernels join. The same sources serve the Python package, whose ops are
// hf_lesionseg::*, and Hub kernels, each build of which has a namespace of its own so that several can be loaded.
#pragma once

#include <torch/csrc/stable/library.h>

// kernel-builder defines which device a Hub kernel is built for, and its namespace.
#if defined(CPU_KERNEL) || defined(CUDA_KERNEL)
#define HF_OPS TORCH_EXTENSION_NAME
#else
#define HF_OPS hf_lesionseg
#endif

// HF_IMPLEMENT_OPS(CPU, m) { m.impl("name", TORCH_BOX(&function)); }
// The second macro is there because torch's pastes the namespace before it is expanded.
#define HF_IMPLEMENT_OPS(device, m) HF_IMPLEMENT_OPS_IN(HF_OPS, device, m)
#define HF_IMPLEMENT_OPS_IN(ops, device, m) STABLE_TORCH_LIBRARY_IMPL(ops, device, m)
