// The sizes of a call, for every processor.
#pragma once

#include <cstdint>

namespace hf_lesionseg::roi_sampling {

// `small` are the planes of RoIs, `large` those of images.
struct Sizes {
  int64_t boxes, batch, channels, small_height, small_width, large_height, large_width;

  void check() const;  // in call.h
};

}  // namespace hf_lesionseg::roi_sampling
