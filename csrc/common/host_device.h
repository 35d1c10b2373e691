// Functions that run on both devices.
#pragma once

#if defined(__CUDACC__) || defined(HF_CUDA_EMULATION)
#define HF_HOST_DEVICE __host__ __device__
#else
#define HF_HOST_DEVICE
#endif

#define HF_INLINE HF_HOST_DEVICE inline __attribute__((always_inline))
#define HF_LAMBDA_INLINE __attribute__((always_inline))
