// What the binding asks of the CPU loops, and the loops that each instruction set offers. No torch header here.
#pragma once

#include <cstdint>

#include "../common/element.h"
#include "arithmetic.h"

namespace hf_lesionseg::convlstm_cell {

using hf_lesionseg::Element;

struct Variant {
  Element element;
  bool hard_sigmoid;
  Recurrence recurrence;
};

// Gates lie as (rows, gates, inner), everything else as (rows, inner): with the channels first a row is one image and
// `inner` is filters * height * width; with the channels last a row is one pixel and `inner` is the filters.
struct Arguments {
  int64_t inner;
  int64_t block;           // elements of a row that are worked on at a time
  int64_t blocks_per_row;
  const void* gates;
  const void* state;       // null without one
  void* hidden;            // forward
  void* cell;
  const void* grad_hidden; // backward; null where nothing flows back
  const void* grad_cell;
  void* grad_gates;
  void* grad_state;
};

// Work on blocks `begin` to `end` of rows * blocks_per_row.
using Loop = void (*)(const Arguments&, int64_t begin, int64_t end);

struct Loops {
  Loop forward, backward;
};

// Null where this build does not have that instruction set.
Loops plain_loops(Variant variant);
Loops avx2_loops(Variant variant);
Loops avx512_loops(Variant variant);

}  // namespace hf_lesionseg::convlstm_cell
