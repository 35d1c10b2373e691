// What the CPU loops are given: the boxes of a call, image by image, and the scratch of a thread. No torch header here.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "axis_tables.h"
#include "sizes.h"

namespace hf_lesionseg::roi_sampling {

// The tables of all boxes, and which boxes each image has.
template <typename T>
class Regions {
 public:
  // `sides` (boxes, 4) and `image` (boxes) of the caller; `lanes` floats are a vector. `parallel_for(begin, end, grain,
  // step)` calls step(begin, end) for parts of that range, on any threads.
  template <typename ParallelFor>
  Regions(Direction direction, const T* sides, const int64_t* image, const Sizes& s, int lanes, bool backward,
          const ParallelFor& parallel_for)
      : tables_(2 * s.boxes), boxes_(s.boxes), order_begin_(s.batch + 1, 0) {
    const bool sampling = direction == Direction::sample;
    const auto axis = [&](int64_t k, int side, int64_t small, int64_t large) {
      AxisTable<T>& table = tables_[2 * k + side];
      table = AxisTable<T>(direction, sides[4 * k + side], sides[4 * k + 2 + side], sampling ? large : small,
                           sampling ? small : large, lanes * int{sizeof(float)} / int{sizeof(T)}, backward);
      return table.axis();
    };
    constexpr int64_t outputs_per_thread = 512;  // below this, waking a thread costs more than it saves
    const int64_t outputs = sampling ? s.small_height + s.small_width : s.large_height + s.large_width;
    const int64_t boxes_per_thread = outputs_per_thread / std::clamp<int64_t>(outputs, 1, outputs_per_thread);
    parallel_for(0, s.boxes, boxes_per_thread, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) {
        bool exists = image[k] >= 0 && image[k] < s.batch;
        for (int side = 0; side < 4; ++side) exists = exists && std::isfinite(sides[4 * k + side]);
        for (int side = 0; side < 2; ++side) {  // which also refuses extents that are too large for float64
          exists = exists && std::isfinite(static_cast<double>(sides[4 * k + 2 + side]) - sides[4 * k + side]);
        }
        boxes_[k].exists = exists;
        boxes_[k].image = image[k];
        if (!exists) continue;
        boxes_[k].x = axis(k, 0, s.small_width, s.large_width);
        boxes_[k].y = axis(k, 1, s.small_height, s.large_height);
      }
    });
    for (const Box<T>& box : boxes_) order_begin_[box.exists ? box.image + 1 : 0] += box.exists;
    for (int64_t n = 0; n < s.batch; ++n) {
      several_ = several_ || order_begin_[n + 1] > 1;
      order_begin_[n + 1] += order_begin_[n];
    }
    order_.resize(order_begin_[s.batch]);
    std::vector<int64_t> next(order_begin_.begin(), order_begin_.end());
    for (int64_t k = 0; k < s.boxes; ++k) {
      if (boxes_[k].exists) order_[next[boxes_[k].image]++] = k;
    }
  }

  // Without tensors. Valid as long as the regions are.
  Arguments<T> arguments(const Sizes& s) const {
    Arguments<T> a{};
    a.boxes = boxes_.data();
    a.order = order_.data();
    a.order_begin = order_begin_.data();
    a.channels = s.channels;
    a.small_height = s.small_height;
    a.small_width = s.small_width;
    a.large_height = s.large_height;
    a.large_width = s.large_width;
    a.several = several_;
    return a;
  }

 private:
  std::vector<AxisTable<T>> tables_;
  std::vector<Box<T>> boxes_;
  std::vector<int64_t> order_, order_begin_;
  bool several_ = false;
};

// How many numbers of type T the scratch of one thread holds.
template <typename T>
int64_t scratch_size(const Arguments<T>& a, Element element, Direction direction, bool backward) {
  const int64_t row = std::max(a.small_width, a.large_width) + 64;  // padded to vectors, at both ends
  const int64_t rows = 8 * row, small = a.small_height * a.small_width, large = a.large_height * a.large_width;
  if (!backward) return rows;
  // A plane that 16-bit gradients are summed up in; the other types are summed up in place.
  const bool narrow = element == Element::bfloat16 || element == Element::float16;
  const int64_t sums = !narrow ? 0 : (direction == Direction::sample ? large : small);
  // Where RoIs overlap: each pixel's greatest value, the RoI that it comes from, the gradient that goes to one RoI.
  const int64_t winners = direction == Direction::paste && a.several ? 3 * large : 0;
  return rows + sums + winners;
}

}  // namespace hf_lesionseg::roi_sampling
