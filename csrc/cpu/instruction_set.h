// Which vector instructions this processor has. Wheels travel, so this is asked at run time.
#pragma once

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace hf_lesionseg {

enum class InstructionSet { plain, avx2, avx512 };

#if defined(__x86_64__)
// Conversions of float16. Every processor with AVX2 has them, but a virtual machine may hide them; not every compiler's
// __builtin_cpu_supports knows the name.
inline bool has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
#endif

inline InstructionSet find_instruction_set() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!has_f16c()) return InstructionSet::plain;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return InstructionSet::avx512;
  }
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
