// Runs every CUDA kernel of RoI sampling and pasting on the CPU, each table and tensor in memory of exactly the size that
// may be touched. Compiled with AddressSanitizer, which ends the program at the first byte read or written outside.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>
#include <vector>

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include "roi_sampling/roi_sampling.cuh"

namespace roi = hf_lesionseg::roi_sampling;

// Inside, across the border, everywhere, mirrored, empty, outside, not finite.
const std::vector<double> boxes_of_tests = {
    1.3, 2.1, 5.8, 4.4, -3.2, -2.4, 2.3, 4.1, -40.1, -9.2, 77.3, 31.7, 9.8, 6.1, 1.3, 0.4,  4.3, 2.2,      4.3, 2.2,
    0.0, 0.0, 7.0, 6.0, 30.2, 1.1,  9e9, 9.3, 5.0,   6.0,  5.0,  1.0,  NAN, 1.0, 5.0, 6.0, 1.0, INFINITY, 5.0, 6.0};

template <roi::Direction direction, typename Scalar>
void run_all(int64_t batch, int64_t channels, int64_t small, int64_t large) {
  using T = typename hf_lesionseg::Compute<Scalar>::Type;
  const std::vector<T> boxes(boxes_of_tests.begin(), boxes_of_tests.end());
  const int64_t count = static_cast<int64_t>(boxes.size()) / 4;
  std::vector<int64_t> images(count);
  for (int64_t box = 0; box < count; ++box) images[box] = box % (batch + 2) - 1;  // the first and the last are not there
  const roi::Sizes sizes{count, batch, channels, small, small + 1, large, large + 1};
  const bool sampling = direction == roi::Direction::sample;
  const size_t inputs = sampling ? batch * channels * large * (large + 1) : count * channels * small * (small + 1);
  const size_t outputs = sampling ? count * channels * small * (small + 1) : batch * channels * large * (large + 1);
  std::vector<Scalar> from(inputs), grad_from(inputs), to(outputs), grad(outputs);
  std::vector<T> grad_boxes(boxes.size());
  std::vector<double> parts(count * roi::parts_per_box(direction, sizes) * roi::sides);
  std::vector<int32_t> winner(sampling ? 0 : outputs);
  roi::Pointers<Scalar> pointers{boxes.data(),     images.data(),     from.data(),  to.data(),     grad.data(),
                                 grad_from.data(), grad_boxes.data(), parts.data(), winner.data()};
  for (const bool backward : {false, true}) {
    std::vector<std::shared_ptr<void>> memory;
    const auto take = [&]<typename Element>(Element*& pointer, int64_t elements) {
      auto block = std::make_shared<std::vector<Element>>(elements);
      pointer = block->data();
      memory.push_back(block);
    };
    const auto tables = roi::tables_of<T>(direction, sizes, backward, take);
    if (backward) {
      roi::launch_backward<direction>(pointers, tables, sizes, nullptr);
    } else {
      roi::launch_forward<direction>(pointers, tables, sizes, nullptr);
    }
  }
}

template <typename Scalar>
void run_both(int64_t batch, int64_t channels, int64_t small, int64_t large) {
  run_all<roi::Direction::sample, Scalar>(batch, channels, small, large);
  run_all<roi::Direction::paste, Scalar>(batch, channels, small, large);
}

int main() {
  for (const unsigned grid_limit : {0, 2}) {
    cuda_emulation::grid_limit = grid_limit;
    run_both<float>(2, 5, 3, 7);
    run_both<double>(1, 9, 4, 6);
    run_both<c10::BFloat16>(3, 4, 1, 5);
    run_both<c10::Half>(2, 1, 5, 1);
    run_both<float>(2, 1, 2, 50);
    run_both<float>(2, 1, 50, 2);
    run_both<float>(0, 2, 3, 7);
    run_both<float>(2, 0, 3, 7);
    run_both<float>(2, 2, 3, 0);
  }
  std::printf("%lld launches\n", static_cast<long long>(cuda_emulation::launches));
}
