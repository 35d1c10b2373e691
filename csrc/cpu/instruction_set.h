// Which vector instructions this processor has. Wheels travel, so this is asked at run time.
#pragma once

namespace hf_lesionseg {

enum class InstructionSet { plain, avx2, avx512 };

inline InstructionSet find_instruction_set() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return InstructionSet::avx512;
  }
  // F16C is as old as AVX2 or older on every processor.
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return InstructionSet::avx2;
#endif
  return InstructionSet::plain;
}

// The best one here. Tests and benchmarks build with HF_INSTRUCTION_SET=plain or =avx2 to stand in for a processor that
// has no more.
inline InstructionSet instruction_set() {
#if defined(HF_INSTRUCTION_SET)
  return InstructionSet::HF_INSTRUCTION_SET;
#else
  static const InstructionSet found = find_instruction_set();
  return found;
#endif
}

// Whether vector loops of ours are worth registering here.
inline bool beats_plain_pytorch() {
  return instruction_set() != InstructionSet::plain;
}

}  // namespace hf_lesionseg
