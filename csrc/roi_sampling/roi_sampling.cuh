// The CUDA kernels of RoI sampling and pasting and how they are launched. No torch header: the tests also compile this
// file for the CPU.
//
// Every result is gathered by the thread or block that writes it, in a fixed order: no atomics, the same bytes from run
// to run. A thread does several channels of a pixel, so that its place and weights are worked out once for them.
#pragma once

#include <cmath>
#include <cstdint>

#include "tables.cuh"

namespace hf_lesionseg::roi_sampling {

constexpr int channels_per_thread = 4;
constexpr int channels_per_block = 8;      // of the box gradient
constexpr int64_t outputs_per_block = 2048;  // of the box gradient, at least
constexpr int64_t most_chunks = 16;        // blocks that share the outputs of one box

// Planes are those of sizes.h. `from` are the values that are interpolated and `to` the results: images and RoIs for
// sampling, RoIs and images for pasting.
template <typename Scalar>
struct Pointers {
  using T = typename Compute<Scalar>::Type;
  const T* boxes;
  const int64_t* batch_indices;
  const Scalar* from;  // backward: null where boxes need no gradient and nothing is pasted
  Scalar* to;          // forward
  const Scalar* grad;  // backward: gradient of `to`
  Scalar* grad_from;   // null if not wanted
  T* grad_boxes;       // null if not wanted
  double* parts;       // (boxes, blocks_per_box, 4), with grad_boxes
  int32_t* winner;     // pasting backward: the box that each pixel of `grad` comes from; null with less than two boxes
};

// A pixel of some neighbouring channels.
struct Place {
  int64_t owner, channel, row, column;  // owner: the image or RoI
  int channels;
};

HF_INLINE int64_t groups_of(int64_t channels, int channels_per_group) {
  return (channels + channels_per_group - 1) / channels_per_group;
}

HF_INLINE Place place_of(int64_t item, int64_t channels, int64_t height, int64_t width) {
  const int64_t groups = groups_of(channels, channels_per_thread);
  const int64_t line = quotient(item, width), plane = quotient(line, height), owner = quotient(plane, groups);
  const int64_t channel = (plane - owner * groups) * channels_per_thread, left = channels - channel;
  return {owner, channel, line - plane * height, item - line * width,
          left < channels_per_thread ? static_cast<int>(left) : channels_per_thread};
}

template <typename T, typename Scalar>
HF_INLINE T value_at(const Scalar* plane, int64_t width, int32_t row, int32_t column) {
  return row >= 0 && column >= 0 ? static_cast<T>(plane[row * width + column]) : T(0);
}

// The four inputs around an output.
template <typename T>
struct Corners {
  T value[2][2];

  template <typename Scalar>
  HF_INLINE Corners(const Scalar* plane, int64_t width, const Taps<T>& y, const Taps<T>& x)
      : value{{value_at<T>(plane, width, y.index[0], x.index[0]), value_at<T>(plane, width, y.index[0], x.index[1])},
              {value_at<T>(plane, width, y.index[1], x.index[0]), value_at<T>(plane, width, y.index[1], x.index[1])}} {}

  HF_INLINE T along_x(int row, const Taps<T>& x) const {
    return value[row][0] * x.weight[0] + value[row][1] * x.weight[1];
  }
  HF_INLINE T between(const Taps<T>& y, const Taps<T>& x) const {
    return along_x(0, x) * y.weight[0] + along_x(1, x) * y.weight[1];
  }
  HF_INLINE T slope_x(const Taps<T>& y) const {
    return (value[0][1] - value[0][0]) * y.weight[0] + (value[1][1] - value[1][0]) * y.weight[1];
  }
  HF_INLINE T slope_y(const Taps<T>& x) const { return along_x(1, x) - along_x(0, x); }
};

// One thread per pixel of an RoI.
template <typename Scalar, typename T>
__global__ void __launch_bounds__(threads_per_block)
    sample_kernel(Pointers<Scalar> p, Tables<T> tables, Sizes s, int64_t items) {
  const int64_t large = s.large_height * s.large_width, small = s.small_height * s.small_width;
  HF_FOR_ITEMS(item, items) {
    const Place at = place_of(item, s.channels, s.small_height, s.small_width);
    const int64_t image = tables.image[at.owner];
    const TableTaps<T> y = tables.y.of(at.owner)[at.row], x = tables.x.of(at.owner)[at.column];
    Scalar* to = p.to + (at.owner * s.channels + at.channel) * small + at.row * s.small_width + at.column;
    for (int c = 0; c < channels_per_thread; ++c) {
      if (c >= at.channels) continue;
      const Scalar* from = p.from + (image * s.channels + at.channel + c) * large;
      const T value = image < 0 ? static_cast<T>(NAN) : Corners<T>(from, s.large_width, y, x).between(y, x);
      to[c * small] = static_cast<Scalar>(value);
    }
  }
}

// One thread per pixel of an image: the maximum over its RoIs, in their order; a later one must be greater to win. With
// `note_winner` which one did is all that is written, and only for images that have several.
template <bool note_winner, typename Scalar, typename T>
__global__ void __launch_bounds__(threads_per_block)
    paste_kernel(Pointers<Scalar> p, Tables<T> tables, Sizes s, int64_t items) {
  const int64_t large = s.large_height * s.large_width, small = s.small_height * s.small_width;
  HF_FOR_ITEMS(item, items) {
    const Place place = place_of(item, s.channels, s.large_height, s.large_width);
    const int64_t begin = tables.order_begin[place.owner], end = tables.order_begin[place.owner + 1];
    if (note_winner && end - begin < 2) continue;
    T best[channels_per_thread] = {};
    int32_t winner[channels_per_thread] = {};
    for (int64_t at = begin; at < end; ++at) {
      const int64_t box = tables.order[at];
      const TableTaps<T> y = tables.y.of(box)[place.row], x = tables.x.of(box)[place.column];
      const bool reads = y.any() && x.any();
      const Scalar* from = p.from + (box * s.channels + place.channel) * small;
      for (int c = 0; c < channels_per_thread; ++c) {
        if (c >= place.channels) continue;
        const T value = reads ? Corners<T>(from + c * small, s.small_width, y, x).between(y, x) : T(0);
        if (at > begin && !(value > best[c])) continue;
        best[c] = value;
        winner[c] = static_cast<int32_t>(box);
      }
    }
    const int64_t first = (place.owner * s.channels + place.channel) * large + place.row * s.large_width + place.column;
    for (int c = 0; c < channels_per_thread; ++c) {
      if (c >= place.channels) continue;
      if constexpr (note_winner) {
        p.winner[first + c * large] = winner[c];
      } else {
        p.to[first + c * large] = static_cast<Scalar>(best[c]);
      }
    }
  }
}

// Where the outputs of a box lie: in its RoI, or in its image among those of other boxes.
template <typename Scalar, typename T>
struct Outputs {
  const Scalar* grad;     // first plane of the group
  const int32_t* winner;  // the same; null where every pixel is the box's own
  int64_t width, plane;

  HF_INLINE Outputs(const Pointers<Scalar>& p, const Tables<T>& tables, const Sizes& s, Direction direction,
                    int64_t box, int64_t channel) {
    const bool sampling = direction == Direction::sample;
    width = sampling ? s.small_width : s.large_width;
    plane = width * (sampling ? s.small_height : s.large_height);
    const int64_t image = tables.image[box], offset = ((sampling ? box : image) * s.channels + channel) * plane;
    const bool shared = p.winner != nullptr && tables.order_begin[image + 1] - tables.order_begin[image] > 1;
    grad = p.grad + offset;
    winner = shared ? p.winner + offset : nullptr;
  }

  HF_INLINE T at(int64_t pixel, int64_t box) const {
    return winner == nullptr || winner[pixel] == box ? static_cast<T>(grad[pixel]) : T(0);
  }
};

// Adds to an input's gradients what the outputs of one box that read it send back.
template <typename Scalar, typename T>
HF_INLINE void add_readers(T* sums, const Outputs<Scalar, T>& outputs, const Tables<T>& tables, int64_t box,
                           const Place& place) {
  const Range rows = tables.y.readers_of(box, place.row);
  if (rows.count() == 0) return;
  const Range columns = tables.x.readers_of(box, place.column);
  if (columns.count() == 0) return;
  T of_box[channels_per_thread] = {};  // by itself: a small box's large sum is rounded once more, not once a row
  for (int32_t i = rows.begin; i < rows.end; ++i) {
    T along_row[channels_per_thread] = {};
    for (int32_t j = columns.begin; j < columns.end; ++j) {
      const T weight = tables.x.of(box)[j].weight_of(static_cast<int32_t>(place.column));
      for (int c = 0; c < channels_per_thread; ++c) {
        if (c < place.channels) along_row[c] += weight * outputs.at(c * outputs.plane + i * outputs.width + j, box);
      }
    }
    const T weight = tables.y.of(box)[i].weight_of(static_cast<int32_t>(place.row));
    for (int c = 0; c < channels_per_thread; ++c) of_box[c] += weight * along_row[c];
  }
  for (int c = 0; c < channels_per_thread; ++c) sums[c] += of_box[c];
}

// One thread per input: a pixel of an image with all its boxes, or of an RoI.
template <Direction direction, typename Scalar, typename T>
__global__ void __launch_bounds__(threads_per_block)
    input_gradient_kernel(Pointers<Scalar> p, Tables<T> tables, Sizes s, int64_t items) {
  constexpr bool sampling = direction == Direction::sample;
  const int64_t height = sampling ? s.large_height : s.small_height, width = sampling ? s.large_width : s.small_width;
  HF_FOR_ITEMS(item, items) {
    const Place place = place_of(item, s.channels, height, width);
    T sums[channels_per_thread] = {};
    if constexpr (sampling) {
      for (int64_t at = tables.order_begin[place.owner]; at < tables.order_begin[place.owner + 1]; ++at) {
        const int64_t box = tables.order[at];
        add_readers(sums, Outputs<Scalar, T>(p, tables, s, direction, box, place.channel), tables, box, place);
      }
    } else if (tables.image[place.owner] >= 0) {
      const Outputs<Scalar, T> outputs(p, tables, s, direction, place.owner, place.channel);
      add_readers(sums, outputs, tables, place.owner, place);
    }
    Scalar* to = p.grad_from + ((place.owner * s.channels + place.channel) * height + place.row) * width + place.column;
    for (int c = 0; c < channels_per_thread; ++c) {
      if (c < place.channels) to[c * height * width] = static_cast<Scalar>(sums[c]);
    }
  }
}

constexpr int sides = 4;

// The sum over the threads of a block, in the first thread's row, always in the same order. Between two calls nobody
// writes before the last one has read.
__device__ inline void sum_over_block(double (*rows)[threads_per_block]) {
  __syncthreads();
  for (int half = threads_per_block / 2; half > 0; half /= 2) {
    const int thread = threadIdx.x;
    if (thread < half) {
      for (int side = 0; side < sides; ++side) rows[side][thread] += rows[side][thread + half];
    }
    __syncthreads();
  }
}

// One block per box, group of channels and chunk of the outputs; every block writes its part of the sum.
template <Direction direction, typename Scalar, typename T>
__global__ void __launch_bounds__(threads_per_block)
    box_gradient_kernel(Pointers<Scalar> p, Tables<T> tables, Sizes s, int64_t chunks, int64_t blocks) {
  __shared__ double rows[sides][threads_per_block];
  constexpr bool sampling = direction == Direction::sample;
  const int64_t input_width = sampling ? s.large_width : s.small_width;
  const int64_t input_plane = input_width * (sampling ? s.large_height : s.small_height);
  const int64_t groups = groups_of(s.channels, channels_per_block);
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    const int64_t unit = quotient(block, chunks), chunk = block - unit * chunks;
    const int64_t box = quotient(unit, groups), channel = (unit - box * groups) * channels_per_block;
    const int64_t last = s.channels < channel + channels_per_block ? s.channels : channel + channels_per_block;
    const int64_t image = tables.image[box];
    double sums[sides] = {};
    if (image >= 0) {
      const Outputs<Scalar, T> outputs(p, tables, s, direction, box, channel);
      const Range reached_rows = tables.y.reach(box), reached = tables.x.reach(box);
      const int64_t area = reached_rows.count() * reached.count();
      const Scalar* from = p.from + ((sampling ? image : box) * s.channels + channel) * input_plane;
      for (int64_t at = chunk * threads_per_block + threadIdx.x; at < area; at += chunks * threads_per_block) {
        const int64_t line = quotient(at, reached.count());
        const int64_t i = reached_rows.begin + line, j = reached.begin + at - line * reached.count();
        const TableTaps<T> y = tables.y.of(box)[i], x = tables.x.of(box)[j];
        T along_x = 0, along_y = 0;
        for (int64_t c = 0; c < last - channel; ++c) {
          const T grad = outputs.at(c * outputs.plane + i * outputs.width + j, box);
          const Corners<T> corners(from + c * input_plane, input_width, y, x);
          along_x += grad * corners.slope_x(y);
          along_y += grad * corners.slope_y(x);
        }
        const Slopes<T> slopes_x = tables.x.slopes[box * tables.x.outputs + j];
        const Slopes<T> slopes_y = tables.y.slopes[box * tables.y.outputs + i];
        sums[0] += static_cast<double>(along_x) * slopes_x.to_low;
        sums[1] += static_cast<double>(along_y) * slopes_y.to_low;
        sums[2] += static_cast<double>(along_x) * slopes_x.to_high;
        sums[3] += static_cast<double>(along_y) * slopes_y.to_high;
      }
    }
    for (int side = 0; side < sides; ++side) rows[side][threadIdx.x] = sums[side];
    sum_over_block(rows);
    if (threadIdx.x < sides) p.parts[block * sides + threadIdx.x] = rows[threadIdx.x][0];
    __syncthreads();
  }
}

// One thread per side of a box: the sum over the parts, in their order.
template <typename T>
__global__ void __launch_bounds__(threads_per_block)
    sum_parts_kernel(const double* parts, int64_t parts_per_box, T* grad_boxes, int64_t items) {
  HF_FOR_ITEMS(item, items) {
    const double* part = parts + item / sides * parts_per_box * sides + item % sides;
    double sum = 0;
    for (int64_t at = 0; at < parts_per_box; ++at) sum += part[at * sides];
    grad_boxes[item] = static_cast<T>(sum);
  }
}

inline int64_t chunks_of(Direction direction, const Sizes& s) {
  const bool sampling = direction == Direction::sample;
  const int64_t outputs = sampling ? s.small_height * s.small_width : s.large_height * s.large_width;
  const int64_t chunks = (outputs + outputs_per_block - 1) / outputs_per_block;
  return chunks < 1 ? 1 : (chunks < most_chunks ? chunks : most_chunks);
}

inline int64_t parts_per_box(Direction direction, const Sizes& s) {
  return groups_of(s.channels, channels_per_block) * chunks_of(direction, s);
}

inline int64_t small_items(const Sizes& s) {
  return s.boxes * groups_of(s.channels, channels_per_thread) * s.small_height * s.small_width;
}

inline int64_t large_items(const Sizes& s) {
  return s.batch * groups_of(s.channels, channels_per_thread) * s.large_height * s.large_width;
}

// CUDA refuses an empty grid: nothing to do is no launch.
template <typename Scalar, typename T, typename KernelFunction>
void launch_items(KernelFunction kernel, int64_t items, const Pointers<Scalar>& p, const Tables<T>& tables,
                  const Sizes& s, cudaStream_t stream) {
  if (items == 0) return;
  HF_LAUNCH(kernel, blocks_for(items), threads_per_block, stream, p, tables, s, items);
}

// Enqueue a pass. `tables` come from tables_of for the same direction and sizes, and are filled here.
template <Direction direction, typename Scalar, typename T>
void launch_forward(const Pointers<Scalar>& p, const Tables<T>& tables, const Sizes& s, cudaStream_t stream) {
  constexpr bool sampling = direction == Direction::sample;
  fill(tables, direction, s, p.boxes, p.batch_indices, !sampling, stream);
  if constexpr (sampling) {
    launch_items(sample_kernel<Scalar, T>, small_items(s), p, tables, s, stream);
  } else {
    launch_items(paste_kernel<false, Scalar, T>, large_items(s), p, tables, s, stream);
  }
}

template <Direction direction, typename Scalar, typename T>
void launch_backward(const Pointers<Scalar>& p, const Tables<T>& tables, const Sizes& s, cudaStream_t stream) {
  constexpr bool sampling = direction == Direction::sample;
  fill(tables, direction, s, p.boxes, p.batch_indices, true, stream);
  if constexpr (!sampling) {
    if (p.winner != nullptr) launch_items(paste_kernel<true, Scalar, T>, large_items(s), p, tables, s, stream);
  }
  if (p.grad_from != nullptr) {
    const int64_t items = sampling ? large_items(s) : small_items(s);
    launch_items(input_gradient_kernel<direction, Scalar, T>, items, p, tables, s, stream);
  }
  if (p.grad_boxes == nullptr || s.boxes == 0) return;
  const int64_t parts = parts_per_box(direction, s);
  auto kernel = box_gradient_kernel<direction, Scalar, T>;
  if (parts > 0) {
    HF_LAUNCH_WITH_BARRIERS(kernel, grid_of(s.boxes * parts), threads_per_block, stream, p, tables, s,
                            chunks_of(direction, s), s.boxes * parts);
  }
  HF_LAUNCH(sum_parts_kernel<T>, blocks_for(s.boxes * sides), threads_per_block, stream,
            static_cast<const double*>(p.parts), parts, p.grad_boxes, s.boxes * sides);
}

}  // namespace hf_lesionseg::roi_sampling
