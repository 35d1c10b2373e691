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

// The first `count` elements of a vector, zeros behind them; the others are neither read nor written.
#if HF_LANES == 16
HF_INLINE __mmask16 first_lanes(int64_t count) {
  return count >= 16 ? 0xffff : (count <= 0 ? 0 : static_cast<__mmask16>((1u << count) - 1));
}
HF_INLINE Floats load_first(const float* from, int64_t count) {
  return (Floats)_mm512_maskz_loadu_ps(first_lanes(count), from);
}
HF_INLINE WideDoubles load_first(const double* from, int64_t count) {
  return (WideDoubles)_mm512_maskz_loadu_pd(static_cast<__mmask8>(first_lanes(count)), from);
}
HF_INLINE void store_first(float* to, Floats values, int64_t count) {
  _mm512_mask_storeu_ps(to, first_lanes(count), (__m512)values);
}
HF_INLINE void store_first(double* to, WideDoubles values, int64_t count) {
  _mm512_mask_storeu_pd(to, static_cast<__mmask8>(first_lanes(count)), (__m512d)values);
}
#elif HF_LANES == 8
HF_INLINE __m256i first_lanes(int64_t count) {
  const int32_t known = static_cast<int32_t>(count < 0 ? 0 : (count > 8 ? 8 : count));
  return (__m256i)(Ints{0, 1, 2, 3, 4, 5, 6, 7} < known);
}
HF_INLINE __m256i first_wide_lanes(int64_t count) { return _mm256_cvtepi32_epi64(_mm256_castsi256_si128(first_lanes(count))); }
HF_INLINE Floats load_first(const float* from, int64_t count) {
  return (Floats)_mm256_maskload_ps(from, first_lanes(count));
}
HF_INLINE WideDoubles load_first(const double* from, int64_t count) {
  return (WideDoubles)_mm256_maskload_pd(from, first_wide_lanes(count));
}
HF_INLINE void store_first(float* to, Floats values, int64_t count) {
  _mm256_maskstore_ps(to, first_lanes(count), (__m256)values);
}
HF_INLINE void store_first(double* to, WideDoubles values, int64_t count) {
  _mm256_maskstore_pd(to, first_wide_lanes(count), (__m256d)values);
}
#else
HF_INLINE Floats load_first(const float* from, int64_t count) {
  Floats values{};
  for (int lane = 0; lane < HF_LANES && lane < count; ++lane) values[lane] = from[lane];
  return values;
}
HF_INLINE WideDoubles load_first(const double* from, int64_t count) {
  WideDoubles values{};
  for (int lane = 0; lane < HF_LANES / 2 && lane < count; ++lane) values[lane] = from[lane];
  return values;
}
HF_INLINE void store_first(float* to, Floats values, int64_t count) {
  for (int lane = 0; lane < HF_LANES && lane < count; ++lane) to[lane] = values[lane];
}
HF_INLINE void store_first(double* to, WideDoubles values, int64_t count) {
  for (int lane = 0; lane < HF_LANES / 2 && lane < count; ++lane) to[lane] = values[lane];
}
#endif

// A few neighbouring floats, held in two vectors: lookups near each other are shuffles, which are far cheaper than
// gathers. Reads the first `count` floats at `from` and nothing behind them.
struct Window {
#if HF_LANES == 16
  Floats low, high;
  HF_INLINE Window(const float* from, int64_t count)
      : low(load_first(from, count)), high(load_first(from + 16, count - 16)) {}

  // The floats at index - start, 0 where the index is negative.
  HF_INLINE Floats at(Ints index, int32_t start) const {
    const __mmask16 mask = _mm512_cmpge_epi32_mask((__m512i)index, _mm512_setzero_si512());
    return (Floats)_mm512_maskz_permutex2var_ps(mask, (__m512)low, (__m512i)(index - start), (__m512)high);
  }
#elif HF_LANES == 8
  Floats low, high;
  HF_INLINE Window(const float* from, int64_t count)
      : low(load_first(from, count)), high(load_first(from + 8, count - 8)) {}

  HF_INLINE Floats at(Ints index, int32_t start) const {
    const Ints place = index - start;
    const Floats from_low = (Floats)_mm256_permutevar8x32_ps((__m256)low, (__m256i)place);
    const Floats from_high = (Floats)_mm256_permutevar8x32_ps((__m256)high, (__m256i)place);
    return index >= 0 ? (place < 8 ? from_low : from_high) : Floats{};
  }
#else
  const float* from;
  Window(const float* from_, int64_t) : from(from_) {}
  HF_INLINE Floats at(Ints index, int32_t start) const { return gather(from - start, index); }
#endif
};

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

// The lanes, added up by halves.
HF_INLINE double sum_of(Floats values) {
#if HF_LANES == 16
  return _mm512_reduce_add_ps((__m512)values);
#elif HF_LANES == 8
  const __m128 halves = _mm_add_ps(_mm256_castps256_ps128((__m256)values), _mm256_extractf128_ps((__m256)values, 1));
  const __m128 quarters = _mm_add_ps(halves, _mm_movehl_ps(halves, halves));
  return _mm_cvtss_f32(_mm_add_ss(quarters, _mm_movehdup_ps(quarters)));
#else
  return (values[0] + values[2]) + (values[1] + values[3]);
#endif
}

HF_INLINE double sum_of(WideDoubles values) {
  double sum = 0;
  for (int lane = 0; lane < HF_LANES / 2; ++lane) sum += values[lane];
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
    if constexpr (sizeof(Scalar) == sizeof(T)) {
      return load_first(from, count);
    } else {
      Scalar padded[Wide<T>::lanes] = {};
      for (int64_t lane = 0; lane < count; ++lane) padded[lane] = from[lane];
      return whole(padded);
    }
  }
  static HF_INLINE void store_some(Scalar* to, Value values, int64_t count) {
    if (count >= Wide<T>::lanes) return put(to, values);
    if constexpr (sizeof(Scalar) == sizeof(T)) {
      store_first(to, values, count);
    } else {
      Scalar padded[Wide<T>::lanes];
      put(padded, values);
      for (int64_t lane = 0; lane < count; ++lane) to[lane] = padded[lane];
    }
  }
};

}  // namespace
