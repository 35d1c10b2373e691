// Builds the axes of boxes: the tables that the CPU loops interpolate by.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

#include "cpu_kernels.h"

namespace hf_lesionseg::roi_sampling {

// The memory behind an Axis.
template <typename T>
class AxisTable {
 public:
  AxisTable() = default;

  AxisTable(Direction direction, double low, double high, int64_t inputs, int64_t outputs, int lanes, bool backward)
      : lanes_(lanes) {
    axis_.inputs = static_cast<int32_t>(inputs);
    axis_.outputs = static_cast<int32_t>(outputs);
    axis_.padded = round_up(outputs, lanes);
    indices_.assign(2 * axis_.padded, -1);
    weights_.assign(2 * axis_.padded, T(0));
    if (backward) slopes_.assign(2 * axis_.padded, 0.0);
    std::vector<int32_t> readers(inputs, 0);
    axis_.first = axis_.outputs;
    axis_.input_first = static_cast<int32_t>(inputs);
    const auto [begin, end] = candidates(direction, low, high, inputs, outputs);
    for (int32_t output = begin; output < end; ++output) {
      const Position position = position_of(direction, output, outputs, inputs, low, high);
      const Taps<T> taps = taps_at<T>(position.at, inputs);
      if (taps.index[0] < 0 && taps.index[1] < 0) continue;
      for (int tap = 0; tap < 2; ++tap) {
        const int32_t input = taps.index[tap];
        if (input < 0) continue;
        indices_[tap * axis_.padded + output] = input;
        weights_[tap * axis_.padded + output] = taps.weight[tap];
        axis_.input_first = std::min(axis_.input_first, input);
        axis_.input_last = std::max(axis_.input_last, input + 1);
        axis_.depth = std::max(axis_.depth, ++readers[input]);
      }
      if (backward) {
        slopes_[output] = position.to_low;
        slopes_[axis_.padded + output] = position.to_high;
      }
      axis_.first = std::min(axis_.first, output);
      axis_.last = output + 1;
    }
    axis_.first = std::min(axis_.first, axis_.last);
    axis_.input_first = std::min(axis_.input_first, axis_.input_last);
    axis_.input_padded = round_up(axis_.input_last - axis_.input_first, lanes);
    windows_.resize(axis_.padded / lanes);
    for (int32_t block = 0; block < axis_.padded / lanes; ++block) {
      const int32_t* index = indices_.data() + block * lanes;
      windows_[block] = window_of({index, index + axis_.padded});
    }
    if (backward) transpose();
  }

  // Valid until the table moves or ends.
  Axis<T> axis() const {
    Axis<T> view = axis_;
    for (int tap = 0; tap < 2; ++tap) {
      view.index[tap] = indices_.data() + tap * axis_.padded;
      view.weight[tap] = weights_.data() + tap * axis_.padded;
    }
    view.to_low = slopes_.data();
    view.to_high = slopes_.empty() ? nullptr : slopes_.data() + axis_.padded;
    view.reader = readers_.data();
    view.reader_weight = reader_weights_.data();
    view.window = windows_.data();
    view.reader_window = reader_windows_.data();
    return view;
  }

 private:
  static int32_t round_up(int64_t count, int lanes) { return static_cast<int32_t>((count + lanes - 1) / lanes * lanes); }

  // Outputs that may read something, and few others: of an image's pixels most lie beside a box.
  static std::pair<int32_t, int32_t> candidates(Direction direction, double low, double high, int64_t inputs,
                                                int64_t outputs) {
    const auto all = static_cast<double>(outputs);
    if (direction == Direction::sample) return {0, static_cast<int32_t>(outputs)};
    const double fade = (high - low) / static_cast<double>(inputs);  // the RoI ends one of its pixels beside the box
    const double ends[2] = {low - fade, high + fade};
    const double begin = std::min(ends[0], ends[1]) - 2, end = std::max(ends[0], ends[1]) + 2;
    return {static_cast<int32_t>(std::clamp(begin, 0.0, all)), static_cast<int32_t>(std::clamp(end, 0.0, all))};
  }

  // What the backward pass reads besides.
  void transpose() {
    const int64_t cells = int64_t{axis_.depth} * axis_.input_padded;
    readers_.assign(cells, -1);
    reader_weights_.assign(cells, T(0));
    std::vector<int32_t> filled(axis_.input_padded, 0);
    for (int32_t output = axis_.first; output < axis_.last; ++output) {
      for (int tap = 0; tap < 2; ++tap) {
        const int32_t input = indices_[tap * axis_.padded + output];
        if (input < 0) continue;
        const int32_t column = input - axis_.input_first;
        const int64_t cell = int64_t{filled[column]++} * axis_.input_padded + column;
        readers_[cell] = output;
        reader_weights_[cell] = weights_[tap * axis_.padded + output];
      }
    }
    reader_windows_.resize(cells / lanes_);
    for (int64_t block = 0; block < cells / lanes_; ++block) {
      reader_windows_[block] = window_of({readers_.data() + block * lanes_});
    }
  }

  // The lowest index of a vector, or of two that are looked up together, where two vectors of memory hold all of them.
  int32_t window_of(std::initializer_list<const int32_t*> vectors) const {
    int32_t lowest = INT32_MAX, highest = -1;
    for (const int32_t* index : vectors) {
      for (int lane = 0; lane < lanes_; ++lane) {
        if (index[lane] >= 0) lowest = std::min(lowest, index[lane]);
        highest = std::max(highest, index[lane]);
      }
    }
    if (highest < 0) return 0;
    return highest - lowest < 2 * lanes_ ? lowest : -1;
  }

  Axis<T> axis_{};
  int lanes_ = 1;
  std::vector<int32_t> indices_, readers_, windows_, reader_windows_;
  std::vector<T> weights_, reader_weights_;
  std::vector<double> slopes_;
};

}  // namespace hf_lesionseg::roi_sampling
