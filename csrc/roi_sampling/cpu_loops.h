// The loops over planes, for one instruction set: included after cpu/vector_memory.h, in an unnamed namespace like it.
//
// A plane is interpolated row by row: first along x, each row of inputs once, then along y between two such rows. The
// backward pass runs over rows of inputs: for each it adds up the rows of gradients that read it, and gathers the sums
// along x. One thread does a whole plane, so no result depends on the number of threads.

namespace {

namespace roi = hf_lesionseg::roi_sampling;

template <typename Scalar, typename T>
struct RoiLoops {
  using Value = typename Wide<T>::Value;
  using Axis = roi::Axis<T>;
  static constexpr int lanes = Wide<T>::lanes;

  static int32_t floor_to_vector(int32_t column) { return column / lanes * lanes; }

  // A row of inputs as T: itself, or converted where the axis reads it.
  static const T* row_as(const Scalar* row, const Axis& x, T* converted) {
    if constexpr (sizeof(Scalar) == sizeof(T)) {
      return row;
    } else {
      for (int32_t at = x.input_first; at < x.input_last; at += lanes) {
        store<T>(converted + at, Elements<Scalar, T>::load_some(row + at, x.input_last - at));
      }
      return converted;
    }
  }

  // The inputs that a vector of outputs lies between.
  struct Neighbours {
    Value lower, upper;

    HF_INLINE Neighbours(const T* row, const Axis& x, int32_t column) {
      const auto below = load_index<T>(x.index[0] + column), above = load_index<T>(x.index[1] + column);
      const int32_t start = x.window[column / lanes];
      if constexpr (std::is_same_v<T, float>) {
        if (start >= 0) {
          const Window window(row + start, x.inputs - start);
          lower = window.at(below, start);
          upper = window.at(above, start);
          return;
        }
      }
      lower = gather(row, below);
      upper = gather(row, above);
    }

    HF_INLINE Value between(const Axis& x, int32_t column) const {
      return lower * load<T>(x.weight[0] + column) + upper * load<T>(x.weight[1] + column);
    }
  };

  static HF_INLINE Value readers_sum(const T* sum, const Axis& x, int64_t cell) {
    const auto readers = load_index<T>(x.reader + cell);
    if constexpr (std::is_same_v<T, float>) {
      const int32_t start = x.reader_window[cell / lanes];
      if (start >= 0) return Window(sum + start, x.padded - start).at(readers, start);
    }
    return gather(sum, readers);
  }

  // A plane of inputs. While a row is worked on, the same row of the plane that follows is fetched from memory.
  struct Plane {
    const Scalar* values;
    int64_t width;
    int64_t to_next;  // elements from one plane to the next, 0 if none follows

    HF_INLINE const Scalar* row(int32_t input, const Axis& x) const {
      constexpr int32_t cache_line = 64 / int{sizeof(Scalar)};
      const Scalar* row = values + input * width;
      for (int32_t at = x.input_first; at < x.input_last; at += cache_line) __builtin_prefetch(row + to_next + at);
      return row;
    }
  };

  // Rows of inputs interpolated along x at the columns `begin` to `end` (whole vectors). Two are kept, the even and the
  // odd one: an output row lies between neighbours.
  struct Rows {
    const Plane plane;
    const Axis& x;
    int32_t begin, end;
    T *slots, *converted;
    int32_t held[2] = {-1, -1};

    const T* row(int32_t input) {
      if (input < 0) return nullptr;
      T* slot = slots + (input & 1) * x.padded;
      if (held[input & 1] != input) {
        const T* from = row_as(plane.row(input, x), x, converted);
        for (int32_t j = begin; j < end; j += lanes) {
          store<T>(slot + j, Neighbours(from, x, j).between(x, j));
        }
        held[input & 1] = input;
      }
      return slot;
    }
  };

  // Between the two rows of an output row; null where it lies outside.
  struct OutputRow {
    const T *lower, *upper;
    Value lower_weight, upper_weight;

    OutputRow(Rows& rows, const Axis& y, int32_t i)
        : lower(rows.row(y.index[0][i])),
          upper(rows.row(y.index[1][i])),
          lower_weight(splat<T>(y.weight[0][i])),
          upper_weight(splat<T>(y.weight[1][i])) {}

    HF_INLINE Value operator[](int32_t j) const {
      if (lower != nullptr && upper != nullptr) {
        return load<T>(lower + j) * lower_weight + load<T>(upper + j) * upper_weight;
      }
      if (lower != nullptr) return load<T>(lower + j) * lower_weight;
      return upper != nullptr ? load<T>(upper + j) * upper_weight : Value{};
    }
  };

  // Looking a vector up along x costs about as much as four vectors of weighted sums. Along x first that is done for each
  // row of inputs, along y first for each row of outputs, after sums that are as wide as the box.
  static bool is_cheaper_along_y_first(const roi::Box<T>& box) {
    const Axis &y = box.y, &x = box.x;
    const int64_t outputs = y.last - y.first, rows = std::min<int64_t>(y.input_last - y.input_first, 2 * outputs);
    return 4 * (rows - outputs) * x.outputs > outputs * (x.input_last - x.input_first - x.outputs);
  }

  static void sample_along_y_first(const Plane& from, const roi::Box<T>& box, Scalar* to, T* between) {
    const Axis &y = box.y, &x = box.x;
    for (int32_t i = 0; i < y.outputs; ++i, to += x.outputs) {
      const int32_t lower = y.index[0][i], upper = y.index[1][i];
      if (lower < 0 && upper < 0) {
        for (int32_t j = 0; j < x.outputs; j += lanes) Elements<Scalar, T>::store_some(to + j, Value{}, x.outputs - j);
        continue;
      }
      const Scalar* lower_row = lower < 0 ? nullptr : from.row(lower, x);
      const Scalar* upper_row = upper < 0 ? nullptr : from.row(upper, x);
      const Value lower_weight = splat<T>(y.weight[0][i]), upper_weight = splat<T>(y.weight[1][i]);
      for (int32_t at = x.input_first; at < x.input_last; at += lanes) {
        const int64_t count = x.input_last - at;
        Value sum{};
        if (lower_row != nullptr) sum = Elements<Scalar, T>::load_some(lower_row + at, count) * lower_weight;
        if (upper_row != nullptr) sum += Elements<Scalar, T>::load_some(upper_row + at, count) * upper_weight;
        store<T>(between + at, sum);
      }
      for (int32_t j = 0; j < x.outputs; j += lanes) {
        Elements<Scalar, T>::store_some(to + j, Neighbours(between, x, j).between(x, j), x.outputs - j);
      }
    }
  }

  static void sample(const roi::Arguments<T>& a, T* scratch, int64_t begin, int64_t end) {
    const int64_t size = a.small_height * a.small_width;
    for (int64_t plane = begin; plane < end; ++plane) {
      const roi::Box<T>& box = a.boxes[plane / a.channels];
      Scalar* to = static_cast<Scalar*>(a.to) + plane * size;
      if (!box.exists) {
        const Value nothing = splat<T>(__builtin_nan(""));
        for (int64_t at = 0; at < size; at += lanes) Elements<Scalar, T>::store_some(to + at, nothing, size - at);
        continue;
      }
      const int64_t image = box.image * a.channels + plane % a.channels;
      const Axis& x = box.x;
      const int64_t image_size = a.large_height * a.large_width;
      const bool is_last = plane + 1 == end || plane % a.channels + 1 == a.channels;
      const Plane from{static_cast<const Scalar*>(a.from) + image * image_size, a.large_width, is_last ? 0 : image_size};
      if (is_cheaper_along_y_first(box)) {
        sample_along_y_first(from, box, to, scratch);
        continue;
      }
      Rows rows{from, x, 0, x.padded, scratch, scratch + 2 * x.padded};
      for (int32_t i = 0; i < box.y.outputs; ++i, to += x.outputs) {
        const OutputRow row(rows, box.y, i);
        for (int32_t j = 0; j < x.outputs; j += lanes) {
          Elements<Scalar, T>::store_some(to + j, row[j], x.outputs - j);
        }
      }
    }
  }

  // Gradients of one plane of inputs (added to) and of the box, from a plane of gradients of outputs. Either may be
  // null; `inputs` is read for the box only.
  template <typename Gradient>
  static void backward_plane(const Scalar* inputs, int64_t input_width, const Gradient* grad, const Axis& y,
                             const Axis& x, T* grad_inputs, double* grad_box, T* scratch) {
    const int32_t begin = floor_to_vector(x.first), end = x.last;
    T *values = scratch, *slopes = values + 2 * x.padded, *zeros = slopes + 2 * x.padded;
    T *sum = zeros + x.padded, *to_x = sum + x.padded, *converted = to_x + x.padded;
    double sides[4] = {};
    if (grad_box != nullptr) {
      for (int32_t j = begin; j < end; j += lanes) {
        store<T>(to_x + j, Value{});
        store<T>(zeros + j, Value{});
      }
    }
    for (int32_t input = y.input_first; input < y.input_last; ++input) {
      const int32_t* readers = y.reader + (input - y.input_first);
      const T* weights = y.reader_weight + (input - y.input_first);
      if (readers[0] < 0) continue;
      // Values and slopes along x of this row of inputs and of the one before.
      const int32_t here = (input & 1) * x.padded, before = (~input & 1) * x.padded;
      if (grad_box != nullptr) {
        const T* row = row_as(inputs + input * input_width, x, converted);
        for (int32_t j = begin; j < end; j += lanes) {
          const Neighbours neighbours(row, x, j);
          store<T>(values + here + j, neighbours.between(x, j));
          store<T>(slopes + here + j, neighbours.upper - neighbours.lower);
        }
      }
      for (int32_t turn = 0; turn < y.depth; ++turn) {
        const int32_t i = readers[int64_t{turn} * y.input_padded];
        if (i < 0) break;
        const Value weight = splat<T>(weights[int64_t{turn} * y.input_padded]);
        const Gradient* row = grad + int64_t{i} * x.outputs;
        for (int32_t j = begin; grad_inputs != nullptr && j < end; j += lanes) {
          const Value g = Elements<Gradient, T>::load_some(row + j, x.outputs - j);
          store<T>(sum + j, turn == 0 ? weight * g : load<T>(sum + j) + weight * g);
        }
        // The box's part of an output is done where the upper one of its two rows is at hand.
        const bool is_upper = y.index[1][i] == input, alone = is_upper ? y.index[0][i] < 0 : y.index[1][i] < 0;
        if (grad_box == nullptr || !(is_upper || alone)) continue;
        const T* upper = is_upper ? values + here : zeros;
        const T* lower = is_upper ? (alone ? zeros : values + before) : values + here;
        const T* upper_slope = is_upper ? slopes + here : zeros;
        const T* lower_slope = is_upper ? (alone ? zeros : slopes + before) : slopes + here;
        const Value upper_weight = splat<T>(y.weight[1][i]), lower_weight = splat<T>(y.weight[0][i]);
        Value dot{};
        for (int32_t j = begin; j < end; j += lanes) {
          const Value g = Elements<Gradient, T>::load_some(row + j, x.outputs - j);
          dot += g * (load<T>(upper + j) - load<T>(lower + j));
          const Value slope = upper_weight * load<T>(upper_slope + j) + lower_weight * load<T>(lower_slope + j);
          store<T>(to_x + j, load<T>(to_x + j) + g * slope);
        }
        sides[1] += sum_of(dot) * y.to_low[i];
        sides[3] += sum_of(dot) * y.to_high[i];
      }
      if (grad_inputs != nullptr) add_gathered(sum, x, grad_inputs + input * input_width);
    }
    if (grad_box == nullptr) return;
    for (int32_t j = x.first; j < x.last; ++j) {
      sides[0] += double{to_x[j]} * x.to_low[j];
      sides[2] += double{to_x[j]} * x.to_high[j];
    }
    for (int side = 0; side < 4; ++side) grad_box[side] = sides[side];
  }

  // Adds to each input what its readers along x send back.
  static void add_gathered(const T* sum, const Axis& x, T* row) {
    for (int32_t column = 0; column < x.input_last - x.input_first; column += lanes) {
      Value total{};
      for (int32_t turn = 0; turn < x.depth; ++turn) {
        const int64_t cell = int64_t{turn} * x.input_padded + column;
        total += readers_sum(sum, x, cell) * load<T>(x.reader_weight + cell);
      }
      T* to = row + x.input_first + column;
      const int64_t count = x.input_last - x.input_first - column;
      Elements<T, T>::store_some(to, Elements<T, T>::load_some(to, count) + total, count);
    }
  }

  // A plane to add gradients to, as T: the tensor's own, or one of the scratch that `finish` converts.
  static T* accumulator(void* tensor, int64_t plane, int64_t size, T* scratch) {
    if (tensor == nullptr) return nullptr;
    T* to = sizeof(Scalar) == sizeof(T) ? static_cast<T*>(tensor) + plane * size : scratch;
    std::memset(to, 0, size * sizeof(T));
    return to;
  }

  static void finish(void* tensor, int64_t plane, int64_t size, const T* from) {
    if constexpr (sizeof(Scalar) != sizeof(T)) {
      if (tensor == nullptr) return;
      Scalar* to = static_cast<Scalar*>(tensor) + plane * size;
      for (int64_t at = 0; at < size; at += lanes) {
        const int64_t count = size - at;
        Elements<Scalar, T>::store_some(to + at, Elements<T, T>::load_some(from + at, count), count);
      }
    }
  }

  static void sample_backward(const roi::Arguments<T>& a, T* scratch, int64_t begin, int64_t end) {
    const int64_t size = a.large_height * a.large_width;
    for (int64_t plane = begin; plane < end; ++plane) {
      const int64_t image = plane / a.channels, channel = plane % a.channels;
      T* total = accumulator(a.grad_from, plane, size, scratch);
      T* free = scratch + (sizeof(Scalar) == sizeof(T) ? 0 : size);
      for (int64_t at = a.order_begin[image]; at < a.order_begin[image + 1]; ++at) {
        const roi::Box<T>& box = a.boxes[a.order[at]];
        const int64_t roi_plane = a.order[at] * a.channels + channel;
        backward_plane(a.from == nullptr ? nullptr : static_cast<const Scalar*>(a.from) + plane * size, a.large_width,
                       static_cast<const Scalar*>(a.grad) + roi_plane * a.small_height * a.small_width, box.y, box.x,
                       total, a.grad_boxes == nullptr ? nullptr : a.grad_boxes + 4 * roi_plane, free);
      }
      finish(a.grad_from, plane, size, total);
    }
  }

  // Calls step(row, offset, columns) for the pixels of a plane that lie outside of what the axes reach.
  template <typename Step>
  static void outside(const Axis& y, const Axis& x, const Step& step) {
    const int64_t width = x.outputs;
    if (y.first > 0) step(0, y.first * width);
    for (int64_t i = y.first; i < y.last; ++i) {
      step(i * width, x.first);
      step(i * width + x.last, width - x.last);
    }
    step(y.last * width, (y.outputs - y.last) * width);
  }

  // The maximum over the RoIs of an image, in their order; a later one must be greater to win. With `winner` it also
  // notes, as a number of type T, which one did.
  template <typename To>
  static void paste_plane(const roi::Arguments<T>& a, int64_t image, int64_t channel, To* to, T* winner, T* scratch) {
    using Canvas = Elements<To, T>;
    const int64_t size = a.large_height * a.large_width;
    std::memset(to, 0, size * sizeof(To));
    if (winner != nullptr) std::memset(winner, 0, size * sizeof(T));
    bool negative = false;
    for (int64_t at = a.order_begin[image]; at < a.order_begin[image + 1]; ++at) {
      const roi::Box<T>& box = a.boxes[a.order[at]];
      const Axis &y = box.y, &x = box.x;
      const bool first = at == a.order_begin[image];
      const Value number = splat<T>(static_cast<T>(at - a.order_begin[image]));
      const auto keep_greater = [&](int64_t offset, Value value, int64_t count) HF_LAMBDA_INLINE {
        if (!first) {
          const Value current = Canvas::load_some(to + offset, count);
          if (winner != nullptr) {
            const Value before = Elements<T, T>::load_some(winner + offset, count);
            Elements<T, T>::store_some(winner + offset, value > current ? number : before, count);
          }
          value = value > current ? value : current;
        }
        Canvas::store_some(to + offset, value, count);
        return value;
      };
      // Beside the RoI its map is zero, which is greater than what is negative.
      if (!first && negative) {
        outside(y, x, [&](int64_t offset, int64_t count) {
          for (int64_t j = 0; j < count; j += lanes) keep_greater(offset + j, Value{}, count - j);
        });
      }
      const Scalar* from = static_cast<const Scalar*>(a.from);
      from += (a.order[at] * a.channels + channel) * a.small_height * a.small_width;
      Rows rows{{from, a.small_width, 0}, x, floor_to_vector(x.first), x.last, scratch, scratch + 2 * x.padded};
      Value least{};
      for (int32_t i = y.first; i < y.last; ++i) {
        const OutputRow row(rows, y, i);
        for (int32_t j = x.first; j < x.last; j += lanes) {
          const Value value = keep_greater(int64_t{i} * x.outputs + j, row[j], x.last - j);
          least = value < least ? value : least;
        }
      }
      for (int lane = 0; lane < lanes; ++lane) negative |= least[lane] < 0;
    }
  }

  static void paste(const roi::Arguments<T>& a, T* scratch, int64_t begin, int64_t end) {
    const int64_t size = a.large_height * a.large_width;
    for (int64_t plane = begin; plane < end; ++plane) {
      Scalar* to = static_cast<Scalar*>(a.to) + plane * size;
      paste_plane<Scalar>(a, plane / a.channels, plane % a.channels, to, nullptr, scratch);
    }
  }

  static void paste_backward(const roi::Arguments<T>& a, T* scratch, int64_t begin, int64_t end) {
    const int64_t size = a.large_height * a.large_width, roi_size = a.small_height * a.small_width;
    T* sums = scratch + (a.several ? 3 * size : 0);
    T* free = sums + (sizeof(Scalar) == sizeof(T) ? 0 : roi_size);
    for (int64_t plane = begin; plane < end; ++plane) {
      const int64_t image = plane / a.channels, channel = plane % a.channels;
      const int64_t first = a.order_begin[image], last = a.order_begin[image + 1];
      const Scalar* grad = static_cast<const Scalar*>(a.grad) + plane * size;
      T *winner = scratch, *won = scratch + size, *values = scratch + 2 * size;
      if (last - first > 1) paste_plane<T>(a, image, channel, values, winner, free);
      for (int64_t at = first; at < last; ++at) {
        const roi::Box<T>& box = a.boxes[a.order[at]];
        const int64_t roi_plane = a.order[at] * a.channels + channel;
        const Scalar* inputs = static_cast<const Scalar*>(a.from) + roi_plane * roi_size;
        T* total = accumulator(a.grad_from, roi_plane, roi_size, sums);
        double* to_box = a.grad_boxes == nullptr ? nullptr : a.grad_boxes + 4 * roi_plane;
        if (last - first == 1) {
          backward_plane(inputs, a.small_width, grad, box.y, box.x, total, to_box, free);
        } else {
          const Value number = splat<T>(static_cast<T>(at - first));
          for (int64_t j = box.y.first * a.large_width; j < box.y.last * a.large_width; j += lanes) {
            const int64_t count = box.y.last * a.large_width - j;
            const Value owner = Elements<T, T>::load_some(winner + j, count);
            const Value all = Elements<Scalar, T>::load_some(grad + j, count);
            Elements<T, T>::store_some(won + j, owner == number ? all : Value{}, count);
          }
          backward_plane(inputs, a.small_width, won, box.y, box.x, total, to_box, free);
        }
        finish(a.grad_from, roi_plane, roi_size, total);
      }
    }
  }

  static roi::Loops<T> loops() { return {sample, sample_backward, paste, paste_backward}; }
};

roi::AllLoops loops_of(roi::Element element) {
  roi::AllLoops all{};
  all.lanes = HF_LANES;
  switch (element) {
    case roi::Element::float32:
      all.of_float = RoiLoops<float, float>::loops();
      break;
    case roi::Element::float64:
      all.of_double = RoiLoops<double, double>::loops();
      break;
    case roi::Element::bfloat16:
      all.of_float = RoiLoops<BFloat16, float>::loops();
      break;
    case roi::Element::float16:
      all.of_float = RoiLoops<Half, float>::loops();
      break;
  }
  return all;
}

}  // namespace
