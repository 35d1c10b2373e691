// A vector of HF_LANES floats with exp and tanh, in GCC's and clang's portable vector syntax.
//
// Included once by each source file of an instruction set, after `#pragma GCC target`. Everything is in an unnamed
// namespace and inlined: code made for AVX-512 must never be the copy that the linker keeps for another file.
#include <cstdint>
#include <cstring>

namespace {

typedef float Floats __attribute__((vector_size(HF_LANES * 4)));
typedef int32_t Ints __attribute__((vector_size(HF_LANES * 4)));
typedef uint32_t Words __attribute__((vector_size(HF_LANES * 4)));
typedef uint16_t HalfWords __attribute__((vector_size(HF_LANES * 2)));

struct VectorMath {
  static HF_INLINE Floats splat(double value) { return Floats{} + static_cast<float>(value); }
  // Comparisons that are false for NaN leave it as it is.
  static HF_INLINE Floats clamp(Floats x, Floats low, Floats high) {
    x = x < low ? low : x;
    return x > high ? high : x;
  }
  static HF_INLINE Floats select_between(Floats x, Floats low, Floats high, Floats inside, Floats outside) {
    return (x >= low) & (x <= high) ? inside : outside;
  }

  // x = power * ln 2 + r with |r| <= ln 2 / 2; gives 2^power and exp(r) - 1.
  struct Reduced {
    Floats scale, exponential_minus_one;
  };
  static HF_INLINE Reduced reduce(Floats x) {
    const Floats magic = splat(12582912.0);  // 1.5 * 2^23: adding it rounds to the nearest integer
    const Floats shifted = x * splat(1.44269504088896341) + magic;
    const Ints power = (Ints)shifted - (Ints)magic;
    const Floats rounded = shifted - magic;
    // ln 2 in two parts: the first has few bits, so that its product with `rounded` is exact.
    const Floats r = (x - rounded * splat(0.693145751953125)) - rounded * splat(1.42860682e-6);
    // Minimax polynomial for (exp(r) - 1 - r) / r^2, error 6.3e-8.
    Floats p = splat(0.0013941166);
    p = p * r + splat(0.008363205);
    p = p * r + splat(0.041666374);
    p = p * r + splat(0.16666577);
    p = p * r + splat(0.5);
    return {(Floats)((power + 127) << 23), p * (r * r) + r};
  }

  // Below -87 the result stays at 1.6e-38, above 88 it is infinite.
  static HF_INLINE Floats exponential(Floats x) {
    const Reduced e = reduce(clamp(x, splat(-87.0), splat(88.0)));
    const Floats finite = e.scale * e.exponential_minus_one + e.scale;
    return x > splat(88.0) ? splat(__builtin_inff()) : finite;
  }

  // With e = exp(-2|x|): (1 - e) / (1 + e) near zero, where 1 - e is exact to the last bit by way of exp - 1, and
  // 1 - 2e / (1 + e) further out, where the rounding of 1 + e would otherwise show. Then the sign of x.
  static HF_INLINE Floats tanh(Floats x) {
    const Ints sign = (Ints)x & INT32_MIN;
    Floats doubled = (Floats)((Ints)(x + x) | INT32_MIN);
    doubled = doubled < splat(-30.0) ? splat(-30.0) : doubled;
    const Reduced reduced = reduce(doubled);
    const Floats e = reduced.scale * reduced.exponential_minus_one + reduced.scale;
    const Floats one_minus_e = (splat(1.0) - reduced.scale) - reduced.scale * reduced.exponential_minus_one;
    const Ints far = e < splat(0.3);
    const Floats quotient = (far ? splat(-2.0) * e : one_minus_e) / (splat(1.0) + e);
    return (Floats)((Ints)((far ? splat(1.0) : splat(0.0)) + quotient) | sign);
  }
};

// How a vector is read from and written to memory, by the type of the elements there.
template <typename Scalar>
struct FloatPack;

template <>
struct FloatPack<float> {
  using Value = Floats;
  using Math = VectorMath;
  static constexpr int lanes = HF_LANES;
  static HF_INLINE Floats load(const float* from) {
    Floats values;
    std::memcpy(&values, from, sizeof(values));
    return values;
  }
  static HF_INLINE void store(float* to, Floats values) { std::memcpy(to, &values, sizeof(values)); }
};

struct BFloat16 {
  uint16_t bits;
};

struct Half {
  uint16_t bits;
};

HF_INLINE Words load_half_words(const void* from) {
  HalfWords halves;
  std::memcpy(&halves, from, sizeof(halves));
  return __builtin_convertvector(halves, Words);
}

HF_INLINE void store_half_words(void* to, Words words) {
  const HalfWords halves = __builtin_convertvector(words, HalfWords);
  std::memcpy(to, &halves, sizeof(halves));
}

template <>
struct FloatPack<BFloat16> {
  using Value = Floats;
  using Math = VectorMath;
  static constexpr int lanes = HF_LANES;
  static HF_INLINE Floats load(const BFloat16* from) { return (Floats)(load_half_words(from) << 16); }
  // Rounds to nearest, ties to even; NaN stays NaN.
  static HF_INLINE void store(BFloat16* to, Floats values) {
    const Words bits = (Words)values;
    const Words rounded = (bits + (0x7fffu + ((bits >> 16) & 1u))) >> 16;
    store_half_words(to, (bits & 0x7fffffffu) > 0x7f800000u ? Words{} + 0x7fc0u : rounded);
  }
};

template <>
struct FloatPack<Half> {
  using Value = Floats;
  using Math = VectorMath;
  static constexpr int lanes = HF_LANES;
  static HF_INLINE Floats load(const Half* from) {
    const Words half = load_half_words(from);
    const Words magnitude = (half & 0x7fffu) << 13;
    // Moving the exponent by 112 as a product also normalises the subnormal numbers of float16.
    const Words finite = (Words)((Floats)magnitude * VectorMath::splat(0x1p112));
    const Words special = magnitude >= (0x7c00u << 13) ? Words{} + 0x7f800000u : Words{};
    return (Floats)(finite | special | ((half & 0x8000u) << 16));
  }
  // Rounds to nearest, ties to even; NaN stays NaN and what is too large becomes infinite.
  static HF_INLINE void store(Half* to, Floats values) {
    const Words bits = (Words)values, sign = bits & 0x80000000u, magnitude = bits ^ sign;
    const Words normal = (magnitude + (0xfffu - (112u << 23)) + ((magnitude >> 13) & 1u)) >> 13;
    // Adding 0.5 leaves the bits of a subnormal float16 in the low end of the sum, rounded by the addition itself.
    const Words subnormal = (Words)((Floats)magnitude + VectorMath::splat(0.5)) - 0x3f000000u;
    const Words special = magnitude > 0x7f800000u ? Words{} + 0x7e00u : Words{} + 0x7c00u;
    Words half = magnitude < (113u << 23) ? subnormal : normal;
    half = magnitude >= (143u << 23) ? special : half;
    store_half_words(to, half | (sign >> 16));
  }
};

}  // namespace
