// Runs every CPU loop of both kernels, in every instruction set of this processor, over memory of exactly the size that
// it may touch. Compiled with AddressSanitizer, which ends the program at the first byte read or written outside.
//
// The sanitizer checks what the compiler sees. Gathers and masked loads of single instructions it does not see, so that
// everything runs again in memory that ends, or begins, at a page that the processor refuses to touch.
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <iterator>
#include <map>
#include <string>

#include "convlstm_cell/cpu_kernels.h"
#include "cpu_roi_operation.h"

namespace {

namespace cell = hf_lesionseg::convlstm_cell;
namespace roi = hf_lesionseg::roi_sampling;
using hf_lesionseg::InstructionSet;
using hf_lesionseg::Recurrence;

enum class Where { heap, before_a_wall, behind_a_wall };

// Bytes of any value: negative, huge and NaN among them.
class Memory {
 public:
  Memory(Where where, size_t size) : where_(where) {
    if (where == Where::heap) {
      start_ = data_ = static_cast<unsigned char*>(std::malloc(size));
    } else {
      const size_t page = sysconf(_SC_PAGESIZE), pages = (size + page - 1) / page * page;
      mapped_ = pages + page;
      void* mapping = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (mapping == MAP_FAILED) std::abort();
      start_ = static_cast<unsigned char*>(mapping);
      const bool before = where == Where::before_a_wall;
      if (mprotect(before ? start_ + pages : start_, page, PROT_NONE) != 0) std::abort();
      data_ = before ? start_ + pages - size : start_ + page;
    }
    for (size_t at = 0; at < size; ++at) data_[at] = (state_ = state_ * 1664525u + 1013904223u) >> 24;
  }
  Memory(const Memory&) = delete;
  ~Memory() {
    if (where_ == Where::heap) {
      std::free(start_);
    } else {
      munmap(start_, mapped_);
    }
  }
  unsigned char* data() const { return data_; }

 private:
  static inline uint32_t state_ = 1;
  Where where_;
  unsigned char *start_, *data_;
  size_t mapped_ = 0;
};

// The memory of one call.
struct Tensors {
  Where where;
  std::deque<Memory> held{};

  template <typename T = void>
  T* take(size_t count, size_t size) {
    return reinterpret_cast<T*>(held.emplace_back(where, count * size).data());
  }
};

size_t size_of(int element) {
  constexpr size_t sizes[] = {4, 8, 2, 2};
  return sizes[element];
}

cell::Loops cell_loops(InstructionSet chosen, const cell::Variant& variant) {
  if (chosen == InstructionSet::avx512) return cell::avx512_loops(variant);
  return chosen == InstructionSet::avx2 ? cell::avx2_loops(variant) : cell::plain_loops(variant);
}

int run_cells(InstructionSet chosen, Where where, int64_t rows, int64_t inner) {
  int runs = 0;
  for (int element = 0; element < 4; ++element) {
    for (const Recurrence recurrence : {Recurrence::no_forget_gate, Recurrence::zero_state, Recurrence::state}) {
      for (const int way : {0, 1, 2, 3}) {  // forward; backward from `hidden`, from `cell`, from both
        for (const bool hard : {false, true}) {
          Tensors memory{where};
          const size_t cells = rows * inner, gates = cells * hf_lesionseg::gate_count(recurrence);
          const auto take = [&](size_t count) { return memory.take(count, size_of(element)); };
          cell::Arguments a{};
          a.inner = inner;
          a.block = 64;
          a.blocks_per_row = (inner + a.block - 1) / a.block;
          a.gates = take(gates);
          if (recurrence == Recurrence::state) a.state = take(cells);
          const cell::Loops loops = cell_loops(chosen, {static_cast<cell::Element>(element), hard, recurrence});
          if (way == 0) {
            a.hidden = take(cells);
            a.cell = take(cells);
            loops.forward(a, 0, rows * a.blocks_per_row);
          } else {
            if ((way & 1) != 0) a.grad_hidden = take(cells);
            if ((way & 2) != 0) a.grad_cell = take(cells);
            a.grad_gates = take(gates);
            if (recurrence == Recurrence::state) a.grad_state = take(cells);
            loops.backward(a, 0, rows * a.blocks_per_row);
          }
          ++runs;
        }
      }
    }
  }
  return runs;
}

// In units of the image's sides: around it (the first pixels are read, and what is before them must not be), inside,
// across the border, far around, mirrored, empty, whole, outside, not finite.
constexpr double boxes_of_tests[] = {
    -0.3, -0.2, 1.3, 1.2, 0.13, 0.21, 0.88, 0.74,
    -0.32, -0.24, 0.63, 0.41, 0.71, 0.62, 1.4, 1.9,
    -4.1, -9.2, 7.3, 3.7, 0.98, 0.91, 0.13, 0.04,
    0.43, 0.22, 0.43, 0.22, 0.0, 0.0, 1.0, 1.0,
    3.2, 0.1, 9e9, 9.3, NAN, 0.1, 0.5, 0.6,
};

template <typename T>
int run_roi(InstructionSet chosen, Where where, int element, roi::Direction direction, const roi::Sizes& sizes) {
  const bool sampling = direction == roi::Direction::sample;
  const size_t of_rois = sizes.boxes * sizes.channels * sizes.small_height * sizes.small_width;
  const size_t of_images = sizes.batch * sizes.channels * sizes.large_height * sizes.large_width;
  const size_t inputs = sampling ? of_images : of_rois, outputs = sampling ? of_rois : of_images;
  int runs = 0;
  for (const int way : {0, 1, 2, 3}) {  // forward; backward to the values, to the boxes, to both
    Tensors memory{where};
    const auto take = [&](size_t count) { return memory.take(count, size_of(element)); };
    T* boxes = memory.take<T>(4 * sizes.boxes, sizeof(T));
    int64_t* images = memory.take<int64_t>(sizes.boxes, sizeof(int64_t));
    for (int64_t box = 0; box < sizes.boxes; ++box) {
      images[box] = box % (sizes.batch + 1);  // the last one is not there
      for (int side = 0; side < 4; ++side) {
        const int64_t extent = side % 2 == 0 ? sizes.large_width : sizes.large_height;
        boxes[4 * box + side] = static_cast<T>(boxes_of_tests[(4 * box + side) % std::size(boxes_of_tests)] * extent);
      }
    }
    cpu_roi::Tensors tensors{};
    tensors.boxes = boxes;
    tensors.images = images;
    // Sampling reads the images for the boxes' gradients only.
    if (!(sampling && way == 1)) tensors.from = take(inputs);
    if (way == 0) {
      tensors.to = take(outputs);
    } else {
      tensors.grad = take(outputs);
      if ((way & 1) != 0) tensors.grad_from = take(inputs);
      if ((way & 2) != 0) tensors.grad_boxes = memory.take<double>(4 * sizes.boxes * sizes.channels, sizeof(double));
    }
    cpu_roi::run<T>(chosen, static_cast<roi::Element>(element), direction, way != 0, sizes, tensors, 0,
                    [&](int64_t count) { return memory.take<T>(count, sizeof(T)); });
    ++runs;
  }
  return runs;
}

int run_rois(InstructionSet chosen, Where where, const roi::Sizes& sizes) {
  int runs = 0;
  for (int element = 0; element < 4; ++element) {
    for (const roi::Direction direction : {roi::Direction::sample, roi::Direction::paste}) {
      if (static_cast<roi::Element>(element) == roi::Element::float64) {
        runs += run_roi<double>(chosen, where, element, direction, sizes);
      } else {
        runs += run_roi<float>(chosen, where, element, direction, sizes);
      }
    }
  }
  return runs;
}

}  // namespace

int main() {
  const std::map<InstructionSet, std::string> names = {
      {InstructionSet::plain, "plain"}, {InstructionSet::avx2, "avx2"}, {InstructionSet::avx512, "avx512"}};
  for (const auto& [chosen, name] : names) {
    if (chosen > hf_lesionseg::instruction_set()) continue;
    int cells = 0, rois = 0;
    for (const Where where : {Where::heap, Where::before_a_wall, Where::behind_a_wall}) {
      // Rows shorter than a vector, of whole vectors, of a part more, of several blocks.
      for (const int64_t inner : {1, 7, 48, 61, 150}) cells += run_cells(chosen, where, 3, inner);
      // boxes, batch, channels, small height and width, large height and width
      for (const roi::Sizes& sizes : {
               roi::Sizes{10, 2, 2, 5, 7, 9, 11},
               roi::Sizes{10, 1, 1, 3, 16, 8, 32},
               roi::Sizes{10, 3, 2, 3, 19, 7, 173},
               roi::Sizes{10, 1, 2, 17, 115, 5, 13},
               roi::Sizes{2, 3, 1, 6, 33, 31, 37},
               roi::Sizes{10, 2, 1, 1, 1, 1, 1},
               roi::Sizes{10, 2, 1, 1, 50, 60, 1},
               roi::Sizes{10, 2, 1, 4, 5, 0, 6},
               roi::Sizes{10, 2, 0, 4, 5, 6, 7},
               roi::Sizes{10, 0, 2, 4, 5, 6, 7},
               roi::Sizes{0, 2, 2, 4, 5, 6, 7},
           }) {
        rois += run_rois(chosen, where, sizes);
      }
    }
    std::printf("%s: %d of the cell, %d of RoI sampling\n", name.c_str(), cells, rois);
  }
}
