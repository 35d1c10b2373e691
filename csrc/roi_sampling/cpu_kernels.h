// What the binding asks of the CPU loops, and the loops that each instruction set offers. No torch header here.
#pragma once

#include <cstdint>

#include "../common/element.h"
#include "axis.h"

namespace hf_lesionseg::roi_sampling {

using hf_lesionseg::Element;

// Linear interpolation along one axis of one box: a matrix of at most two weights per output, and its transpose as rows
// of `depth` weights per input. `T` is float, or double for float64. Rows are padded to whole vectors with index -1.
template <typename T>
struct Axis {
  int32_t inputs, outputs, padded;
  int32_t first, last;              // outputs that read an input
  const int32_t* index[2];          // inputs of each output, -1 where there is none
  const T* weight[2];
  const int32_t* window;            // for each vector of outputs, the lowest input where all are near it, or -1
  const double *to_low, *to_high;   // slope of the position by the sides of the box; 0 where nothing is read
  int32_t input_first, input_last;  // inputs that are read
  int32_t input_padded, depth;
  const int32_t* reader;            // (depth, input_padded): outputs that read an input, then -1
  const T* reader_weight;
  const int32_t* reader_window;     // as `window`, for each vector of `reader`
};

template <typename T>
struct Box {
  bool exists;
  int64_t image;
  Axis<T> y, x;
};

// Planes are (height, width) of one channel; `small` are those of the RoIs, `large` those of the images.
template <typename T>
struct Arguments {
  const Box<T>* boxes;
  const int64_t* order;        // boxes that exist, image by image
  const int64_t* order_begin;  // (batch + 1): where each image's boxes begin in `order`
  int64_t channels;
  int64_t small_height, small_width, large_height, large_width;
  const void* from;            // forward: the values that are interpolated. backward: the same, null if not needed
  void* to;                    // forward
  const void* grad;            // backward: gradient of `to`
  void* grad_from;             // null if not wanted
  double* grad_boxes;          // (boxes, channels, 4), null if not wanted
  bool several;                // pasting: an image may have several RoIs
};

// Work on planes `begin` to `end`: of the RoIs for sampling forward, of the images otherwise. `scratch` is the caller's.
template <typename T>
using Loop = void (*)(const Arguments<T>&, T* scratch, int64_t begin, int64_t end);

template <typename T>
struct Loops {
  Loop<T> sample, sample_backward, paste, paste_backward;
};

struct AllLoops {
  Loops<float> of_float;    // float32 and the 16-bit types
  Loops<double> of_double;  // float64
  int lanes;                // floats in a vector: what rows are padded to
};

// All null where this build does not have that instruction set.
AllLoops plain_loops(Element element);
AllLoops avx2_loops(Element element);
AllLoops avx512_loops(Element element);

}  // namespace hf_lesionseg::roi_sampling
