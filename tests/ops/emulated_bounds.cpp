// Runs every CUDA kernel of the ConvLSTM cell on the CPU over memory of exactly the size that it may touch. Compiled
// with AddressSanitizer, which ends the program at the first byte read or written outside.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include "convlstm_cell/convlstm_cell.cuh"

namespace cell = hf_lesionseg::convlstm_cell;
using hf_lesionseg::Recurrence;

template <typename Scalar>
void run_all(int64_t rows, int64_t inner) {
  for (const Recurrence recurrence : {Recurrence::no_forget_gate, Recurrence::zero_state, Recurrence::state}) {
    const size_t cells = rows * inner, gates = cells * hf_lesionseg::gate_count(recurrence);
    std::vector<Scalar> from(gates), grad_gates(gates), state(cells), hidden(cells), next(cells), grad_hidden(cells),
        grad_cell(cells), grad_state(cells);
    cell::Pointers<Scalar> pointers{from.data(),        state.data(),     hidden.data(),     next.data(),
                                    grad_hidden.data(), grad_cell.data(), grad_gates.data(), grad_state.data()};
    // Without a state its memory is not to be touched at all.
    if (recurrence != Recurrence::state) pointers.state = nullptr, pointers.grad_state = nullptr;
    for (const bool hard : {false, true}) {
      cell::launch<false>(pointers, rows, inner, hard, recurrence, nullptr);
      cell::launch<true>(pointers, rows, inner, hard, recurrence, nullptr);
    }
  }
}

int main() {
  for (const int64_t inner : {48, 37}) {
    run_all<float>(3, inner);
    run_all<double>(3, inner);
    run_all<c10::BFloat16>(3, inner);
    run_all<c10::Half>(3, inner);
  }
  std::printf("%lld launches\n", static_cast<long long>(cuda_emulation::launches));
}
