// Vectors of HF_LANES floats, or half as many doubles, with exp and tanh, in GCC's and clang's portable vector syntax.
//
// Included once by each source file of an instruction set, after `#pragma GCC target`. Everything is in an unnamed
// namespace and inlined: code made for AVX-512 must never be the copy that the linker keeps for another file.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>

namespace {

typedef float Floats __attribute__((vector_size(HF_LANES * 4)));
typedef int32_t Ints __attribute__((vector_size(HF_LANES * 4)));
typedef uint32_t Words __attribute__((vector_size(HF_LANES * 4)));
typedef uint16_t HalfWords __attribute__((vector_size(HF_LANES * 2)));

typedef double Doubles __attribute__((vector_size(HF_LANES * 4)));
typedef int64_t Longs __attribute__((vector_size(HF_LANES * 4)));

// What exp and tanh need to know of a floating-point format. The polynomial is the minimax one for (exp(r) - 1 - r) / r^2
// on |r| <= ln 2 / 2, highest power first.
struct Single {
  using Number = float;
  using Vector = Floats;
  using Bits = Ints;
  static constexpr int mantissa_bits = 23, bias = 127;
  static constexpr int32_t sign_bit = INT32_MIN;
  static constexpr double magic = 0x1.8p23;  // adding it rounds to the nearest integer
  // ln 2 in two parts: the first has few bits, so that its product with a small integer is exact.
  static constexpr double ln2_high = 0.693145751953125, ln2_low = 1.42860682e-6;
  static constexpr double lowest = -87, highest = 88;  // arguments of exp whose results have full precision
  static constexpr double tanh_is_one = -30;           // where exp(-2|x|) is lost beside 1
  static constexpr double polynomial[] = {0.0013941166, 0.008363205, 0.041666374, 0.16666577, 0.5};  // error 6.3e-8
};

struct Double {
  using Number = double;
  using Vector = Doubles;
  using Bits = Longs;
  static constexpr int mantissa_bits = 52, bias = 1023;
  static constexpr int64_t sign_bit = INT64_MIN;
  static constexpr double magic = 0x1.8p52;
  static constexpr double ln2_high = 0.693145751953125, ln2_low = 1.42860682030941723212e-6;
  static constexpr double lowest = -708, highest = 709;
  static constexpr double tanh_is_one = -60;
  static constexpr double polynomial[] = {  // error 1.0e-16
      2.511003372003628e-08,  2.7620089181319404e-07, 2.7557242377671555e-06, 2.480152129418443e-05,
      0.00019841269886557576, 0.0013888888917215057,  0.008333333333322217,   0.04166666666662412,
      0.16666666666666674,    0.5};
};

template <typename Format>
struct MathOf {
  using Vector = typename Format::Vector;
  using Bits = typename Format::Bits;

  static HF_INLINE Vector splat(double value) { return Vector{} + static_cast<typename Format::Number>(value); }
  // Comparisons that are false for NaN leave it as it is.
  static HF_INLINE Vector clamp(Vector x, Vector low, Vector high) {
    x = x < low ? low : x;
    return x > high ? high : x;
  }
  static HF_INLINE Vector select_between(Vector x, Vector low, Vector high, Vector inside, Vector outside) {
    return (x >= low) & (x <= high) ? inside : outside;
  }

  // x = power * ln 2 + r with |r| <= ln 2 / 2; gives 2^power and exp(r) - 1.
  struct Reduced {
    Vector scale, exponential_minus_one;
  };
  static HF_INLINE Reduced reduce(Vector x) {
    const Vector magic = splat(Format::magic);
    const Vector shifted = x * splat(1.44269504088896341) + magic;
    const Bits power = (Bits)shifted - (Bits)magic;
    const Vector rounded = shifted - magic;
    const Vector r = (x - rounded * splat(Format::ln2_high)) - rounded * splat(Format::ln2_low);
    Vector p = splat(Format::polynomial[0]);
    for (size_t k = 1; k < std::size(Format::polynomial); ++k) p = p * r + splat(Format::polynomial[k]);
    return {(Vector)((power + Format::bias) << Format::mantissa_bits), p * (r * r) + r};
  }

  // Below `lowest` the result stays at its smallest value, above `highest` it is infinite.
  static HF_INLINE Vector exponential(Vector x) {
    const Reduced e = reduce(clamp(x, splat(Format::lowest), splat(Format::highest)));
    const Vector finite = e.scale * e.exponential_minus_one + e.scale;
    return x > splat(Format::highest) ? splat(__builtin_inf()) : finite;
  }

  // With e = exp(-2|x|): (1 - e) / (1 + e) near zero, where 1 - e is exact to the last bit by way of exp - 1, and
  // 1 - 2e / (1 + e) further out, where the rounding of 1 + e would otherwise show. Then the sign of x.
  static HF_INLINE Vector tanh(Vector x) {
    const Bits sign = (Bits)x & Format::sign_bit;
    Vector doubled = (Vector)((Bits)(x + x) | Format::sign_bit);
    doubled = doubled < splat(Format::tanh_is_one) ? splat(Format::tanh_is_one) : doubled;
    const Reduced reduced = reduce(doubled);
    const Vector e = reduced.scale * reduced.exponential_minus_one + reduced.scale;
    const Vector one_minus_e = (splat(1.0) - reduced.scale) - reduced.scale * reduced.exponential_minus_one;
    const Bits far = e < splat(0.3);
    const Vector quotient = (far ? splat(-2.0) * e : one_minus_e) / (splat(1.0) + e);
    return (Vector)((Bits)((far ? splat(1.0) : splat(0.0)) + quotient) | sign);
  }
};

using VectorMath = MathOf<Single>;
using DoubleVectorMath = MathOf<Double>;

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

template <>
struct FloatPack<double> {
  using Value = Doubles;
  using Math = DoubleVectorMath;
  static constexpr int lanes = HF_LANES / 2;
  static HF_INLINE Doubles load(const double* from) {
    Doubles values;
    std::memcpy(&values, from, sizeof(values));
    return values;
  }
  static HF_INLINE void store(double* to, Doubles values) { std::memcpy(to, &values, sizeof(values)); }
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
#if HF_LANES == 16
  static HF_INLINE Floats load(const Half* from) {
    return (Floats)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  static HF_INLINE void store(Half* to, Floats values) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtps_ph((__m512)values, _MM_FROUND_TO_NEAREST_INT));
  }
#elif HF_LANES == 8
  static HF_INLINE Floats load(const Half* from) {
    return (Floats)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static HF_INLINE void store(Half* to, Floats values) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph((__m256)values, _MM_FROUND_TO_NEAREST_INT));
  }
#else
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
#endif
};

}  // namespace
