// One operation of RoI sampling on the CPU loops of one instruction set, over plain pointers and on one thread.
#pragma once

#include <cstdint>

#include "cpu/instruction_set.h"
#include "roi_sampling/regions.h"

namespace cpu_roi {

namespace roi = hf_lesionseg::roi_sampling;
using hf_lesionseg::InstructionSet;

// As in roi::Arguments; `boxes` (boxes, 4) are of type T, `images` (boxes) tell the image of each.
struct Tensors {
  const void* boxes;
  const int64_t* images;
  const void* from;
  void* to;
  const void* grad;
  void* grad_from;
  double* grad_boxes;
};

inline roi::AllLoops loops_of(InstructionSet chosen, roi::Element element) {
  if (chosen == InstructionSet::avx512) return roi::avx512_loops(element);
  return chosen == InstructionSet::avx2 ? roi::avx2_loops(element) : roi::plain_loops(element);
}

inline const roi::Loops<float>& of_type(const roi::AllLoops& all, float) { return all.of_float; }
inline const roi::Loops<double>& of_type(const roi::AllLoops& all, double) { return all.of_double; }

// `take_scratch(count)` gives memory for so many numbers of type T. With a `split` the planes from there on come first,
// as another thread may have them.
template <typename T, typename TakeScratch>
void run(InstructionSet chosen, roi::Element element, roi::Direction direction, bool backward, const roi::Sizes& s,
         const Tensors& t, int64_t split, const TakeScratch& take_scratch) {
  const roi::AllLoops all = loops_of(chosen, element);
  const roi::Loops<T>& loops = of_type(all, T{});
  const auto on_one_thread = [](int64_t begin, int64_t end, int64_t, const auto& step) { step(begin, end); };
  const roi::Regions<T> regions(direction, static_cast<const T*>(t.boxes), t.images, s, all.lanes, backward,
                                on_one_thread);
  roi::Arguments<T> a = regions.arguments(s);
  a.from = t.from;
  a.to = t.to;
  a.grad = t.grad;
  a.grad_from = t.grad_from;
  a.grad_boxes = t.grad_boxes;
  const bool sampling = direction == roi::Direction::sample;
  const roi::Loop<T> loop = sampling ? (backward ? loops.sample_backward : loops.sample)
                                     : (backward ? loops.paste_backward : loops.paste);
  const int64_t planes = (sampling && !backward ? s.boxes : s.batch) * s.channels;
  const int64_t scratch = roi::scratch_size(a, element, direction, backward);
  loop(a, take_scratch(scratch), split, planes);
  loop(a, take_scratch(scratch), 0, split);
}

}  // namespace cpu_roi
