// The tables that the CUDA kernels of RoI sampling read, and the kernels that fill them: where the outputs of every box
// lie between the inputs, along each axis on its own, and which boxes every image has. No torch header.
#pragma once

#include <cstdint>

#include "../cuda/launch.cuh"
#include "axis.h"
#include "sizes.h"

namespace hf_lesionseg::roi_sampling {

// Taps that a thread reads at once.
template <typename T>
struct alignas(16) TableTaps : Taps<T> {
  HF_INLINE bool any() const { return this->index[0] >= 0 || this->index[1] >= 0; }
  HF_INLINE T weight_of(int32_t input) const {
    if (this->index[0] == input) return this->weight[0];
    return this->index[1] == input ? this->weight[1] : T(0);
  }
};

// Slopes of the position by the two sides of the box.
template <typename T>
struct alignas(2 * sizeof(T)) Slopes {
  T to_low, to_high;
};

// Outputs `begin` to `end`: positions rise or fall with the output, so those that read an input are neighbours.
struct alignas(8) Range {
  int32_t begin, end;
  HF_INLINE int64_t count() const { return end - begin; }
};

template <typename T>
struct AxisTables {
  int64_t outputs, inputs;
  TableTaps<T>* taps;  // (boxes, outputs)
  Slopes<T>* slopes;   // (boxes, outputs); this and the next one for the backward pass, null otherwise
  Range* readers;      // (boxes, inputs + 1): the outputs that read each input, and those that read any

  HF_INLINE const TableTaps<T>* of(int64_t box) const { return taps + box * outputs; }
  HF_INLINE Range readers_of(int64_t box, int64_t input) const { return readers[box * (inputs + 1) + input]; }
  HF_INLINE Range reach(int64_t box) const { return readers_of(box, inputs); }
  HF_INLINE int64_t entries() const { return outputs + (readers == nullptr ? 0 : inputs + 1); }
};

template <typename T>
struct Tables {
  AxisTables<T> y, x;
  int64_t* image;        // (boxes): -1 where the box is not finite or its image is not there
  int64_t* order;        // boxes that have an image, image by image and in each in their own order
  int64_t* order_begin;  // (batch + 1): where each image's boxes begin in `order`
};

// `take(pointer, count)` has to find memory, aligned to 16 bytes, and set the pointer to it.
template <typename T, typename Take>
Tables<T> tables_of(Direction direction, const Sizes& s, bool backward, const Take& take) {
  const bool sampling = direction == Direction::sample;
  Tables<T> tables{};
  const auto axis = [&](AxisTables<T>& axis, int64_t small, int64_t large) {
    axis.outputs = sampling ? small : large;
    axis.inputs = sampling ? large : small;
    take(axis.taps, s.boxes * axis.outputs);
    if (!backward) return;
    take(axis.slopes, s.boxes * axis.outputs);
    take(axis.readers, s.boxes * (axis.inputs + 1));
  };
  axis(tables.y, s.small_height, s.large_height);
  axis(tables.x, s.small_width, s.large_width);
  take(tables.image, s.boxes);
  take(tables.order, s.boxes);
  take(tables.order_begin, s.batch + 1);
  return tables;
}

// One axis of one box.
struct Side {
  Direction direction;
  int64_t outputs, inputs;
  double low, high;

  HF_INLINE Position position(int64_t output) const {
    return position_of(direction, output, outputs, inputs, low, high);
  }

  // The input at or below an output's position: from -1 on, `inputs` for all that is beyond, -2 for all before.
  HF_INLINE int64_t cell(int64_t output) const {
    const double at = position(output).at;
    const Taps<float> taps = taps_at<float>(at, inputs);
    if (taps.index[0] >= 0) return taps.index[0];
    if (taps.index[1] >= 0) return -1;
    return at > -1.0 ? inputs : -2;
  }

  // How many outputs have a cell below this one; by bisection, from the end where positions fall.
  HF_INLINE int64_t outputs_below(int64_t wanted) const {
    int64_t least = 0, most = outputs;
    while (least < most) {
      const int64_t middle = least + (most - least) / 2;
      if (cell(high < low ? outputs - 1 - middle : middle) < wanted) {
        least = middle + 1;
      } else {
        most = middle;
      }
    }
    return least;
  }

  HF_INLINE Range outputs_between(int64_t first_cell, int64_t last_cell) const {
    const int64_t below = outputs_below(first_cell), through = outputs_below(last_cell + 1);
    if (high < low) return {static_cast<int32_t>(outputs - through), static_cast<int32_t>(outputs - below)};
    return {static_cast<int32_t>(below), static_cast<int32_t>(through)};
  }
};

template <typename T>
HF_INLINE void fill_entry(const AxisTables<T>& axis, Direction direction, bool exists, double low, double high,
                          int64_t box, int64_t entry) {
  const Side side{direction, axis.outputs, axis.inputs, low, high};
  if (entry < axis.outputs) {
    TableTaps<T> taps{{{-1, -1}, {T(0), T(0)}}};
    if (exists) {
      const Position position = side.position(entry);
      static_cast<Taps<T>&>(taps) = taps_at<T>(position.at, axis.inputs);
      if (axis.slopes != nullptr) {
        axis.slopes[box * axis.outputs + entry] = {static_cast<T>(position.to_low), static_cast<T>(position.to_high)};
      }
    }
    axis.taps[box * axis.outputs + entry] = taps;
    return;
  }
  const int64_t input = entry - axis.outputs;
  Range range{0, 0};
  if (exists) range = side.outputs_between(input < axis.inputs ? input - 1 : -1, input < axis.inputs ? input : input - 1);
  axis.readers[box * (axis.inputs + 1) + input] = range;
}

// One thread per entry; the first one of each box notes its image.
template <typename T>
__global__ void __launch_bounds__(threads_per_block)
    fill_tables(Tables<T> tables, Direction direction, const T* boxes, const int64_t* batch_indices, int64_t batch,
                int64_t items) {
  const int64_t along_x = tables.x.entries(), per_box = 1 + along_x + tables.y.entries();
  HF_FOR_ITEMS(item, items) {
    const int64_t box = quotient(item, per_box), entry = item - box * per_box;
    const T* sides = boxes + 4 * box;
    bool exists = batch_indices[box] >= 0 && batch_indices[box] < batch;
    for (int side = 0; side < 4; ++side) exists = exists && sides[side] - sides[side] == T(0);  // false for inf and NaN
    for (int side = 0; side < 2; ++side) {  // extents that are too large for float64
      const double extent = static_cast<double>(sides[2 + side]) - static_cast<double>(sides[side]);
      exists = exists && extent - extent == 0.0;
    }
    if (entry == 0) {
      tables.image[box] = exists ? batch_indices[box] : -1;
    } else if (entry <= along_x) {
      fill_entry(tables.x, direction, exists, sides[0], sides[2], box, entry - 1);
    } else {
      fill_entry(tables.y, direction, exists, sides[1], sides[3], box, entry - 1 - along_x);
    }
  }
}

// Every box, and the beginning of every image, counts the boxes that come before it. That is work by the square of
// the boxes, but a detector has hundreds: cheaper than a sort, in one launch, and always the same order.
template <typename T>
__global__ void __launch_bounds__(threads_per_block) group_by_image(Tables<T> tables, int64_t boxes, int64_t items) {
  HF_FOR_ITEMS(item, items) {
    const bool is_box = item < boxes;
    const int64_t image = is_box ? tables.image[item] : item - boxes;
    if (image < 0) continue;
    int64_t before = 0;
    for (int64_t other = 0; other < boxes; ++other) {
      const int64_t its = tables.image[other];
      before += its >= 0 && (its < image || (is_box && its == image && other < item));
    }
    if (is_box) {
      tables.order[before] = item;
    } else {
      tables.order_begin[image] = before;
    }
  }
}

template <typename T>
void fill(const Tables<T>& tables, Direction direction, const Sizes& s, const T* boxes, const int64_t* batch_indices,
          bool grouped, cudaStream_t stream) {
  const int64_t entries = s.boxes * (1 + tables.x.entries() + tables.y.entries());
  if (entries > 0) {
    HF_LAUNCH(fill_tables<T>, blocks_for(entries), threads_per_block, stream, tables, direction, boxes, batch_indices,
              s.batch, entries);
  }
  if (!grouped) return;
  const int64_t counts = s.boxes + s.batch + 1;
  HF_LAUNCH(group_by_image<T>, blocks_for(counts), threads_per_block, stream, tables, s.boxes, counts);
}

}  // namespace hf_lesionseg::roi_sampling
