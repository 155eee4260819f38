// group_norm_silu: group norm of ragged images [P, C], then an affine map and SiLU.
//
// An image is cut into chunks of a size that depends on C alone. Statistics: each chunk sums x - shift and its square for
// every channel, where a group's shift is the mean of every 16th pixel of the chunk; mean and sum of squared deviations of
// the chunks are then combined in double, in order (Chan, Golub and LeVeque 1979). So nothing depends on threads or on
// other images, and a large mean does not cancel: with d = x - shift, the mean of a 16th of the chunk's d is 0, so by
// Cauchy-Schwarz (mean d)^2 <= 16 var(d), and the subtraction in mean(d^2) - (mean d)^2 loses at most 17 roundings.
#include "logistic.h"
#include "memory.h"
#include "pool.h"
#include "table.h"
#include "vecmath.h"

namespace salon::SALON_ISA_NS {
namespace {

constexpr int64_t kChunkElements = 16384;  // stays in L1 (bf16) or L2 between the two readings
constexpr int64_t kSample = 16;
constexpr int kWide = 4;                   // vectors of channels summed at a time


struct Moments { double mean, squares; };  // squares: sum of (x - mean)^2

struct Job {
  const GroupNormArgs* a;
  int64_t chunk_rows;
  Moments* moments;        // [chunks of all images][groups]
  float* coefficients;     // [images][3][C]: mean, scale, shift
};

struct Chunk { int64_t image, first, rows; };  // rows first .. first + rows of x

SALON_INLINE int64_t pixels_of(const GroupNormArgs& a, int64_t image) {
  return int64_t(a.grids[2 * image]) * a.grids[2 * image + 1];
}
SALON_INLINE Chunk chunk_of(const Job& j, int64_t index) {
  for (int64_t image = 0, start = 0;; ++image) {
    const int64_t pixels = pixels_of(*j.a, image), chunks = ceil_div(pixels, j.chunk_rows);
    if (index < chunks) return {image, start + index * j.chunk_rows, least(j.chunk_rows, pixels - index * j.chunk_rows)};
    index -= chunks;
    start += pixels;
  }
}

// ---- statistics ---------------------------------------------------------------------------------------------------

// sums, squares [V * kLanes] = sums over every step-th row of d and d^2, d = x - shift, for V vectors of channels of
// which the last holds `tail` (channels past it are not read).
template <class X, int V>
void sum_columns(const X* x, int64_t stride, int64_t rows, int64_t step, const float* shift, int tail, float* sums, float* squares) {
  vf k[V], s[V], q[V];
  for (int v = 0; v < V; ++v) {
    k[v] = load(shift + v * kLanes);  // the arrays are padded to whole vectors
    s[v] = q[v] = set1(0);
  }
  for (int64_t r = 0; r < rows; r += step, x += stride * step) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const vf value = v == V - 1 && tail < kLanes ? load(x + v * kLanes, tail) : load(x + v * kLanes);
      const vf d = value - k[v];
      s[v] = s[v] + d;
      q[v] = fma(d, d, q[v]);
    }
  }
  for (int v = 0; v < V; ++v) {
    store(sums + v * kLanes, s[v]);
    store(squares + v * kLanes, q[v]);
  }
}

template <class X>
void sum_chunk(const GroupNormArgs& a, const Chunk& c, int64_t step, const float* shift, float* sums, float* squares) {
  const int64_t cols = a.x.cols, vectors = ceil_div(cols, kLanes);
  for (int64_t v = 0; v < vectors; v += kWide) {
    const X* x = row_of<const X>(a.x, c.first) + v * kLanes;
    const int64_t at = v * kLanes, wide = least(kWide, vectors - v);
    const int tail = int(least(kLanes, cols - (v + wide - 1) * kLanes));
    const auto sum = wide == 4 ? sum_columns<X, 4> : wide == 3 ? sum_columns<X, 3> : wide == 2 ? sum_columns<X, 2> : sum_columns<X, 1>;
    sum(x, a.x.stride, c.rows, step, shift + at, tail, sums + at, squares + at);
  }
}

SALON_INLINE double sum_group(const float* x, int64_t n) {
  double s = 0;
  for (int64_t i = 0; i < n; ++i) s += double(x[i]);
  return s;
}

template <class X> void chunk_moments(const Job& j, int64_t index) {
  const GroupNormArgs& a = *j.a;
  const Chunk c = chunk_of(j, index);
  const int64_t width = a.x.cols / a.groups, padded = ceil_div(a.x.cols, kLanes) * kLanes;
  float* shift = static_cast<float*>(thread_scratch(size_t(3 * padded) * sizeof(float)));
  float* sums = shift + padded;
  float* squares = sums + padded;
  for (int64_t i = 0; i < padded; ++i) shift[i] = 0;
  sum_chunk<X>(a, c, kSample, shift, sums, squares);
  const double sampled = double(ceil_div(c.rows, kSample) * width), n = double(c.rows * width);
  for (int64_t g = 0; g < a.groups; ++g) {
    const float mean = float(sum_group(sums + g * width, width) / sampled);
    for (int64_t i = 0; i < width; ++i) shift[g * width + i] = mean;
  }
  sum_chunk<X>(a, c, 1, shift, sums, squares);
  for (int64_t g = 0; g < a.groups; ++g) {
    const double s = sum_group(sums + g * width, width), q = sum_group(squares + g * width, width);
    const double rest = q - s * s / n;
    j.moments[index * a.groups + g] = {double(shift[g * width]) + s / n, rest > 0 || rest != rest ? rest : 0};
  }
}

// Combines an image's chunks and makes its coefficients: y = (x - mean) * scale + shift.
void finish_image(const Job& j, int64_t image, const Moments* moments) {
  const GroupNormArgs& a = *j.a;
  const int64_t width = a.x.cols / a.groups, pixels = pixels_of(a, image);
  float* mean_of = j.coefficients + image * 3 * a.x.cols;
  float* scale_of = mean_of + a.x.cols;
  float* shift_of = scale_of + a.x.cols;
  for (int64_t g = 0; g < a.groups; ++g) {
    Moments all{0, 0};
    double count = 0;
    const Moments* m = moments + g;
    for (int64_t row = 0; row < pixels; row += j.chunk_rows, m += a.groups) {
      const double n = double(least(j.chunk_rows, pixels - row) * width), delta = m->mean - all.mean;
      all.squares += m->squares + delta * delta * (count * n / (count + n));
      count += n;
      all.mean += delta * (n / count);
    }
    const double inverse = 1.0 / __builtin_sqrt(all.squares / count + double(a.eps));
    for (int64_t i = g * width; i < (g + 1) * width; ++i) {
      mean_of[i] = float(all.mean);
      scale_of[i] = float(inverse * double(a.weight[i]));
      shift_of[i] = float(double(a.bias[i]) - (all.mean - double(mean_of[i])) * inverse * double(a.weight[i]));
    }
  }
}

// ---- the map --------------------------------------------------------------------------------------------------------

// V vectors of channels of one pixel, of which the last holds `tail`.
template <class X, class O, bool Silu, int V>
SALON_INLINE void map_vectors(const X* x, O* o, const float* mean, const float* scale, const float* shift, int tail) {
  vf y[V];
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) {
    const int at = v * kLanes;
    const bool part = v == V - 1 && tail < kLanes;
    if (part) y[v] = fma(load(x + at, tail) - load(mean + at, tail), load(scale + at, tail), load(shift + at, tail));
    else y[v] = fma(load(x + at) - load(mean + at), load(scale + at), load(shift + at));
  }
  if constexpr (Silu) quick_silu<sizeof(O) == 2>(y);
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) {
    if (v == V - 1 && tail < kLanes) store(o + v * kLanes, y[v], tail);
    else store(o + v * kLanes, y[v]);
  }
}

template <class X, class O, bool Silu, int V> void map_rows(const GroupNormArgs& a, const Chunk& c, const float* mean, int64_t at, int tail) {
  const int64_t cols = a.x.cols;
  for (int64_t r = c.first; r < c.first + c.rows; ++r)
    map_vectors<X, O, Silu, V>(row_of<const X>(a.x, r) + at, row_of<O>(a.out, r) + at, mean + at, mean + cols + at, mean + 2 * cols + at, tail);
}

#if defined(__AVX512BF16__)
// 32 bf16 channels of one pixel after another: a register of them is split into even and odd ones, which are float32
// after one operation each. Conversions, reciprocals and clamps are what the map's time goes into.
template <bool Silu> void map_wide(const GroupNormArgs& a, const Chunk& c, const float* mean, int64_t at) {
  alignas(64) static const int32_t even_lanes[16] = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30};
  alignas(64) static const uint16_t woven[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i order = _mm512_load_si512(woven);
  vf scale[2], shift[2];  // of even and odd channels
  for (int odd = 0; odd < 2; ++odd) {
    const __m512i lanes = _mm512_or_si512(_mm512_load_si512(even_lanes), _mm512_set1_epi32(odd));
    const auto pick = [&](const float* p) { return vf{_mm512_permutex2var_ps(_mm512_loadu_ps(p), lanes, _mm512_loadu_ps(p + 16))}; };
    scale[odd] = pick(mean + a.x.cols + at);
    shift[odd] = fma(set1(0) - pick(mean + at), scale[odd], pick(mean + 2 * a.x.cols + at));
  }
  for (int64_t r = c.first; r < c.first + c.rows; ++r) {
    const __m512i both = _mm512_loadu_si512(row_of<const uint16_t>(a.x, r) + at);
    vf y[2] = {{_mm512_castsi512_ps(_mm512_slli_epi32(both, 16))},
               {_mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(int(0xffff0000))))}};
#pragma GCC unroll 2
    for (int odd = 0; odd < 2; ++odd) {
      y[odd] = fma(y[odd], scale[odd], shift[odd]);
      if constexpr (Silu) y[odd] = y[odd] * vf{_mm512_rcp14_ps((set1(1.0f) + coarse_exp2(y[odd] * set1(-1.44269504088896341f))).v)};
    }
    const __m512i packed = (__m512i)_mm512_cvtne2ps_pbh(y[1].v, y[0].v);
    _mm512_storeu_si512(row_of<uint16_t>(a.out, r) + at, _mm512_permutexvar_epi16(order, packed));
  }
}
#endif

template <class X, class O, bool Silu> void map_chunk(const Job& j, int64_t index) {
  const GroupNormArgs& a = *j.a;
  const Chunk c = chunk_of(j, index);
  const float* mean = j.coefficients + c.image * 3 * a.x.cols;
  const int64_t vectors = ceil_div(a.x.cols, kLanes);
#if defined(__AVX512BF16__)
  if constexpr (sizeof(X) == 2 && sizeof(O) == 2) {
    if (a.x.cols % 32 == 0) {
      for (int64_t r = 0; r < c.rows; r += 32)  // few enough that all of their channels stay in L1
        for (int64_t at = 0; at < a.x.cols; at += 32) map_wide<Silu>(a, {c.image, c.first + r, least(32, c.rows - r)}, mean, at);
      return;
    }
  }
#endif
  for (int64_t v = 0; v < vectors; v += kWide) {
    const int64_t wide = least(kWide, vectors - v);
    const int tail = int(least(kLanes, a.x.cols - (v + wide - 1) * kLanes));
    const auto map = wide == 4 ? map_rows<X, O, Silu, 4> : wide == 3 ? map_rows<X, O, Silu, 3> : wide == 2 ? map_rows<X, O, Silu, 2> : map_rows<X, O, Silu, 1>;
    map(a, c, mean, v * kLanes, tail);
  }
}

template <bool Silu> Task choose_map(const GroupNormArgs& a) {
  const bool x16 = a.x.dtype == Dtype::bf16, o16 = a.out.dtype == Dtype::bf16;
  if (x16 && o16) return [](void* j, int64_t i) { map_chunk<uint16_t, uint16_t, Silu>(*static_cast<Job*>(j), i); };
  if (x16) return [](void* j, int64_t i) { map_chunk<uint16_t, float, Silu>(*static_cast<Job*>(j), i); };
  if (o16) return [](void* j, int64_t i) { map_chunk<float, uint16_t, Silu>(*static_cast<Job*>(j), i); };
  return [](void* j, int64_t i) { map_chunk<float, float, Silu>(*static_cast<Job*>(j), i); };
}

}  // namespace

void group_norm_silu(const GroupNormArgs& args) {
  Job job;
  job.a = &args;
  job.chunk_rows = kChunkElements / args.x.cols > 1 ? kChunkElements / args.x.cols : 1;
  int64_t chunks = 0;
  for (int64_t i = 0; i < args.images; ++i) chunks += ceil_div(pixels_of(args, i), job.chunk_rows);
  const int64_t moments_bytes = chunks * args.groups * int64_t(sizeof(Moments));
  void* memory = args.memory->take(size_t(moments_bytes + args.images * 3 * args.x.cols * 4));
  job.moments = static_cast<Moments*>(memory);
  job.coefficients = reinterpret_cast<float*>(static_cast<char*>(memory) + moments_bytes);

  const Task statistics = args.x.dtype == Dtype::bf16
      ? Task([](void* j, int64_t i) { chunk_moments<uint16_t>(*static_cast<Job*>(j), i); })
      : Task([](void* j, int64_t i) { chunk_moments<float>(*static_cast<Job*>(j), i); });
  parallel(chunks, statistics, &job, args.threads);
  const Moments* m = job.moments;
  for (int64_t i = 0; i < args.images; ++i) {
    finish_image(job, i, m);
    m += ceil_div(pixels_of(args, i), job.chunk_rows) * args.groups;
  }
  parallel(chunks, args.silu ? choose_map<true>(args) : choose_map<false>(args), &job, args.threads);
}

}  // namespace salon::SALON_ISA_NS
