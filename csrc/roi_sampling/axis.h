// Where the outputs of an RoI lie between the inputs, along one axis: the arithmetic of every processor.
#pragma once

#include <cstdint>

#include "../common/host_device.h"

namespace hf_lesionseg::roi_sampling {

// Sampling reads an image at the places of an RoI's pixels, pasting an RoI at the places of an image's pixels.
enum class Direction { sample, paste };

// An output's position among the inputs, whose centres lie at 0, 1, ..., and its slope by the two sides of the box.
struct Position {
  double at, to_low, to_high;
};

// A product that is rounded before it is added to: nvcc would fuse the two, and a GPU's positions must be those of x86
// CPUs, where compilers do not.
HF_INLINE double rounded_product(double a, double b) {
#if defined(__CUDA_ARCH__)
  return __dmul_rn(a, b);
#else
  return a * b;
#endif
}

HF_INLINE Position position_of(Direction direction, int64_t output, int64_t outputs, int64_t inputs, double low,
                               double high) {
  const double centre = static_cast<double>(output) + 0.5, extent = high - low;
  if (direction == Direction::sample) {
    const double share = centre / static_cast<double>(outputs);
    return {low + rounded_product(share, extent) - 0.5, 1.0 - share, share};
  }
  if (extent == 0.0) return {-2.0, 0.0, 0.0};  // an empty box covers nothing: beside the inputs
  const double scale = static_cast<double>(inputs) / extent;
  return {rounded_product(centre - low, scale) - 0.5, (centre - high) * scale / extent,
          (low - centre) * scale / extent};
}

// The two inputs that an output lies between. An index is -1, and its weight 0, where there is no input.
template <typename T>
struct Taps {
  int32_t index[2];
  T weight[2];
};

template <typename T>
HF_INLINE Taps<T> taps_at(double position, int64_t inputs) {
  Taps<T> taps{{-1, -1}, {T(0), T(0)}};
  // Written so that NaN has no taps; what passes fits an int32.
  if (!(position >= -1.0 && position < static_cast<double>(inputs))) return taps;
  int32_t lower = static_cast<int32_t>(position);
  if (position < static_cast<double>(lower)) --lower;
  const double fraction = position - static_cast<double>(lower);
  if (lower >= 0) taps.index[0] = lower, taps.weight[0] = static_cast<T>(1.0 - fraction);
  if (lower + 1 < inputs) taps.index[1] = lower + 1, taps.weight[1] = static_cast<T>(fraction);
  return taps;
}

}  // namespace hf_lesionseg::roi_sampling
