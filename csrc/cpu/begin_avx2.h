// What follows is compiled for AVX2, up to end_target.h. Include standard headers and <immintrin.h> before, so that
// their inline functions stay ordinary code.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

#define HF_LANES 8
