// RoI sampling on the CPU loops of each instruction set, called from Python with plain pointers: the shipped library
// only ever uses the best one of the processor it runs on.
#include <limits>
#include <vector>

#include "cpu_roi_operation.h"

namespace roi = hf_lesionseg::roi_sampling;

extern "C" {

// The best instruction set of this processor: 0 plain, 1 AVX2, 2 AVX-512.
int best_instruction_set() { return static_cast<int>(hf_lesionseg::instruction_set()); }

// `p`: the members of cpu_roi::Tensors, null where not wanted. `sizes`: those of roi::Sizes.
void run_roi(int instruction_set, int element, int pasting, int backward, void* const* p, const int64_t* sizes,
             int64_t split) {
  const cpu_roi::Tensors tensors{p[0], static_cast<const int64_t*>(p[1]), p[2], p[3],
                                 p[4], p[5], static_cast<double*>(p[6])};
  const roi::Sizes s{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], sizes[6]};
  const auto with_arithmetic = [&]<typename T>(T) {
    std::vector<T> scratch;
    cpu_roi::run<T>(static_cast<hf_lesionseg::InstructionSet>(instruction_set), static_cast<roi::Element>(element),
                    pasting != 0 ? roi::Direction::paste : roi::Direction::sample, backward != 0, s, tensors, split,
                    [&](int64_t count) {
                      // What is read before it was written shows.
                      scratch.assign(count, std::numeric_limits<T>::quiet_NaN());
                      return scratch.data();
                    });
  };
  if (static_cast<roi::Element>(element) == roi::Element::float64) {
    with_arithmetic(double{});
  } else {
    with_arithmetic(float{});
  }
}

}  // extern "C"
