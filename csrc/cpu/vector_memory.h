// Vectors to and from memory where a plain load does not do: parts of vectors, gathers, vectors of doubles.
//
// Included after float_vector.h, in the unnamed namespace of one instruction set like it. On x86 the including file has
// included <immintrin.h> before it raised its target.

namespace {

typedef double WideDoubles __attribute__((vector_size(HF_LANES * 4)));
typedef int32_t HalfInts __attribute__((vector_size(HF_LANES * 2)));

HF_INLINE Floats load_floats(const void* from) {
  Floats values;
  std::memcpy(&values, from, sizeof(values));
  return values;
}

// from[index], or 0 where the index is negative: nothing is read there.
HF_INLINE Floats gather(const float* from, Ints index) {
#if HF_LANES == 16
  const __mmask16 mask = _mm512_cmpge_epi32_mask((__m512i)index, _mm512_setzero_si512());
  return (Floats)_mm512_mask_i32gather_ps(_mm512_setzero_ps(), mask, (__m512i)index, from, 4);
#elif HF_LANES == 8
  return (Floats)_mm256_mask_i32gather_ps(_mm256_setzero_ps(), from, (__m256i)index, (__m256)~index, 4);
#else
  Floats values{};
  for (int lane = 0; lane < HF_LANES; ++lane) {
    if (index[lane] >= 0) values[lane] = from[index[lane]];
  }
  return values;
#endif
}

HF_INLINE WideDoubles gather(const double* from, HalfInts index) {
#if HF_LANES == 16
  const __mmask8 mask = _mm256_cmpge_epi32_mask((__m256i)index, _mm256_setzero_si256());
  return (WideDoubles)_mm512_mask_i32gather_pd(_mm512_setzero_pd(), mask, (__m256i)index, from, 8);
#elif HF_LANES == 8
  const __m256d mask = (__m256d)_mm256_cvtepi32_epi64((__m128i)~index);
  return (WideDoubles)_mm256_mask_i32gather_pd(_mm256_setzero_pd(), from, (__m128i)index, mask, 8);
#else
  WideDoubles values{};
  for (int lane = 0; lane < HF_LANES / 2; ++lane) {
    if (index[lane] >= 0) values[lane] = from[index[lane]];
  }
  return values;
#endif
}

// Vectors of the arithmetic's own type: float for float32 and the 16-bit types, double for float64.
template <typename T>
struct Wide;

template <>
struct Wide<float> {
  using Value = Floats;
  using Index = Ints;
  static constexpr int lanes = HF_LANES;
};

template <>
struct Wide<double> {
  using Value = WideDoubles;
  using Index = HalfInts;
  static constexpr int lanes = HF_LANES / 2;
};

template <typename T>
HF_INLINE typename Wide<T>::Value splat(T value) {
  return typename Wide<T>::Value{} + value;
}

template <typename T>
HF_INLINE typename Wide<T>::Value load(const T* from) {
  typename Wide<T>::Value values;
  std::memcpy(&values, from, sizeof(values));
  return values;
}

template <typename T>
HF_INLINE void store(T* to, typename Wide<T>::Value values) {
  std::memcpy(to, &values, sizeof(values));
}

template <typename T>
HF_INLINE typename Wide<T>::Index load_index(const int32_t* from) {
  typename Wide<T>::Index values;
  std::memcpy(&values, from, sizeof(values));
  return values;
}

// The lanes, added up in their order.
template <typename T>
HF_INLINE T sum_of(typename Wide<T>::Value values) {
  T sum = 0;
  for (int lane = 0; lane < Wide<T>::lanes; ++lane) sum += values[lane];
  return sum;
}

// Elements of a tensor as vectors of T.
template <typename Scalar, typename T>
struct Elements {
  using Value = typename Wide<T>::Value;
  static HF_INLINE Value whole(const Scalar* from) {
    if constexpr (sizeof(Scalar) == sizeof(T)) {
      return load<T>(from);
    } else {
      return FloatPack<Scalar>::load(from);
    }
  }
  static HF_INLINE void put(Scalar* to, Value values) {
    if constexpr (sizeof(Scalar) == sizeof(T)) {
      store<T>(to, values);
    } else {
      FloatPack<Scalar>::store(to, values);
    }
  }
  // The first `count` of a vector, zeros behind them.
  static HF_INLINE Value load_some(const Scalar* from, int64_t count) {
    if (count >= Wide<T>::lanes) return whole(from);
    Scalar padded[Wide<T>::lanes] = {};
    std::memcpy(padded, from, count * sizeof(Scalar));
    return whole(padded);
  }
  static HF_INLINE void store_some(Scalar* to, Value values, int64_t count) {
    if (count >= Wide<T>::lanes) return put(to, values);
    Scalar padded[Wide<T>::lanes];
    put(padded, values);
    std::memcpy(to, padded, count * sizeof(Scalar));
  }
};

}  // namespace
