// The inner loops of conv2d: a block of output pixels by one group of output channels, accumulated in registers or AMX
// tiles over taps and channels, and its epilogue.
#pragma once
#include "amx.h"
#include "table.h"

namespace salon::SALON_ISA_NS {
namespace {

constexpr int64_t kLine = 64;          // bytes of a pixel that lie together
constexpr int kSteps = 16;             // steps of the inner loop in a line: f32 channels or pairs of bf16
constexpr int kGroup = 2 * kLanes;     // output channels of a block
#if defined(__AVX512F__)
constexpr int kBlock = 14;             // pixels: 14 x 2 accumulators + 2 weights + 1 input of 32 registers
#else
constexpr int kBlock = 6;
#endif

// One block's product: everything but where it begins.
struct Product {
  int64_t taps[9];          // bytes from an output pixel's place to its taps' pixels
  int count;
  int64_t lines, line_stride;
  int64_t pixel_stride;     // bytes from a pixel to the one beside it; AMX only, kLine elsewhere
  int last;                 // steps in the last line
  int64_t tap_weights;      // elements from one tap's weights to the next one's
};

// ---- epilogue -----------------------------------------------------------------------------------------------------

// Where a block's pixels go: output rows first, first + step, ...; `columns` of them count, from `column` on.
struct Place {
  int64_t first, step, column;
  int columns;
};

// out = buffer + bias (+ residual); the buffer's rows are kPanel apart. R: element of the residual, char for none.
template <class O, class R> void finish(const ConvArgs& a, const float* buffer, int pixels, const Place& place) {
  O* o = row_of<O>(a.out, place.first) + place.column;
  const R* residual = a.residual.data ? row_of<const R>(a.residual, place.first) + place.column : nullptr;
  const int64_t out_step = place.step * a.out.stride, residual_step = place.step * a.residual.stride;
  const vf bias0 = load(a.w->bias + place.column), bias1 = load(a.w->bias + place.column + kLanes);
  const int n0 = place.columns < kLanes ? place.columns : kLanes, n1 = place.columns - n0;
  for (int r = 0; r < pixels; ++r, buffer += kPanel, o += out_step, residual += residual_step) {
    vf v0 = load(buffer) + bias0, v1 = load(buffer + kLanes) + bias1;
    if constexpr (sizeof(R) > 1) {
      v0 = v0 + (n1 ? load(residual) : load(residual, n0));
      if (n1) v1 = v1 + load(residual + kLanes, n1);
    }
    if (n1 == kLanes) {
      store_pair(o, v0, v1);
    } else {
      store(o, v0, n0);
      if (n1) store(o + kLanes, v1, n1);
    }
  }
}
using Finish = void (*)(const ConvArgs&, const float*, int, const Place&);

template <class O> Finish choose_finish(const View& residual) {
  if (!residual.data) return finish<O, char>;
  return residual.dtype == Dtype::bf16 ? finish<O, uint16_t> : finish<O, float>;
}
Finish choose_finish(const ConvArgs& a) {
  return a.out.dtype == Dtype::bf16 ? choose_finish<uint16_t>(a.residual) : choose_finish<float>(a.residual);
}

// ---- blocks: R pixels x V vectors into buffer [R][32] ----------------------------------------------------------------

template <class T> struct Dot;
template <> struct Dot<float> {
  using Vector = vf;
  static constexpr int kElements = 1;  // channels of one step
  SALON_INLINE Vector weights(const float* p) { return load(p); }
  SALON_INLINE Vector everywhere(const float* p) { return set1(*p); }
  SALON_INLINE vf add(vf acc, Vector x, Vector w) { return fma(x, w, acc); }
};
#if defined(__AVX512BF16__) && !defined(SALON_AMX)
template <> struct Dot<uint16_t> {
  using Vector = __m512bh;
  static constexpr int kElements = 2;
  SALON_INLINE Vector weights(const uint16_t* p) { return (__m512bh)_mm512_loadu_si512(p); }
  SALON_INLINE Vector everywhere(const uint16_t* p) {
    int32_t pair;
    memcpy(&pair, p, 4);
    return (__m512bh)_mm512_set1_epi32(pair);
  }
  SALON_INLINE vf add(vf acc, Vector x, Vector w) { return {_mm512_dpbf16_ps(acc.v, x, w)}; }
};
#endif

template <class T, int R, int V> void block(const Product& p, const char* x, const T* weights, float* buffer) {
  using D = Dot<T>;
  constexpr int kStride = int(kLine / int64_t(sizeof(T)));
  vf acc[R][V];
#pragma GCC unroll 14
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) acc[r][v] = set1(0);
  for (int t = 0; t < p.count; ++t, weights += p.tap_weights) {
    const T* w = weights;
    const char* line = x + p.taps[t];
    for (int64_t l = 1; l <= p.lines; ++l, line += p.line_stride) {
      const T* pixels = reinterpret_cast<const T*>(line);
      const int steps = l < p.lines ? kSteps : p.last;
      for (int s = 0; s < steps; ++s, pixels += D::kElements, w += kPanel * D::kElements) {
        typename D::Vector b[V];
        for (int v = 0; v < V; ++v) b[v] = D::weights(w + v * kLanes * D::kElements);
#pragma GCC unroll 14
        for (int r = 0; r < R; ++r) {
          const typename D::Vector a = D::everywhere(pixels + r * kStride);
          for (int v = 0; v < V; ++v) acc[r][v] = D::add(acc[r][v], a, b[v]);
        }
      }
    }
  }
#pragma GCC unroll 14
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) store(buffer + r * kPanel + v * kLanes, acc[r][v]);
}

#if defined(__AVX512BF16__) && !defined(SALON_AMX)
// The bits of block() at almost twice its speed on Intel's CPUs, whose VDPBF16PS takes as long as four multiply-adds and is
// the same as two: a pair's second product, then its first (block_fma in linear.cpp).
template <int R, int V> void block_fused(const Product& p, const char* x, const uint16_t* weights, float* buffer) {
  alignas(64) float wide[R][2 * kSteps];
  vf acc[R][V];
#pragma GCC unroll 14
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) acc[r][v] = set1(0);
  for (int t = 0; t < p.count; ++t, weights += p.tap_weights) {
    const uint16_t* w = weights;
    const char* line = x + p.taps[t];
    for (int64_t l = 1; l <= p.lines; ++l, line += p.line_stride) {
      const uint16_t* pixels = reinterpret_cast<const uint16_t*>(line);
      for (int r = 0; r < R; ++r)
        for (int c = 0; c < 2 * kSteps; c += kLanes) store(wide[r] + c, load(pixels + r * 2 * kSteps + c));
      const int steps = l < p.lines ? kSteps : p.last;
      for (int s = 0; s < steps; ++s, w += 2 * kPanel) {
#pragma GCC unroll 2
        for (int second = 1; second >= 0; --second) {
          vf b[V];
          for (int v = 0; v < V; ++v) {
            const __m512i pairs = _mm512_loadu_si512(w + v * 2 * kLanes);
            b[v] = {_mm512_castsi512_ps(second ? _mm512_and_si512(pairs, _mm512_set1_epi32(-65536)) : _mm512_slli_epi32(pairs, 16))};
          }
#pragma GCC unroll 14
          for (int r = 0; r < R; ++r)
            for (int v = 0; v < V; ++v) acc[r][v] = fma(set1(wide[r][2 * s + second]), b[v], acc[r][v]);
        }
      }
    }
  }
#pragma GCC unroll 14
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) store(buffer + r * kPanel + v * kLanes, acc[r][v]);
}
#endif

// ---- parts of a block's sum ------------------------------------------------------------------------------------------

// A range of a block's lines, counted tap by tap. In float32 a panel's weights of many channels do not stay in the
// caches from block to block; those of a part do, so all blocks of a tile take one part after the other.
struct Part {
  int tap;
  int64_t line, count;      // from that line of that tap, so many
  bool fresh;               // whether it is the first: sums start at 0, not at what the buffer has
};

// block() of one part. Sums are kept in float32 as the registers have them, so that parts do not change their bits.
template <int R, int V> void block_part(const Product& p, const Part& part, const char* x, const float* weights, float* buffer) {
  constexpr int kStride = int(kLine / int64_t(sizeof(float)));
  vf acc[R][V];
#pragma GCC unroll 14
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) acc[r][v] = part.fresh ? set1(0) : load(buffer + r * kPanel + v * kLanes);
  int tap = part.tap;
  int64_t l = part.line;
  for (int64_t i = 0; i < part.count; ++i) {
    const float* pixels = reinterpret_cast<const float*>(x + p.taps[tap] + l * p.line_stride);
    const float* w = weights + tap * p.tap_weights + l * kSteps * kPanel;
    const bool last = ++l == p.lines;
    const auto step = [&](int s) {
      vf b[V];
      for (int v = 0; v < V; ++v) b[v] = load(w + s * kPanel + v * kLanes);
#pragma GCC unroll 14
      for (int r = 0; r < R; ++r) {
        const vf a = set1(pixels[s + r * kStride]);
        for (int v = 0; v < V; ++v) acc[r][v] = fma(a, b[v], acc[r][v]);
      }
    };
    if (!last || p.last == kSteps) {
#pragma GCC unroll 4
      for (int s = 0; s < kSteps; ++s) step(s);
    } else {
      for (int s = 0; s < p.last; ++s) step(s);
    }
    if (last) ++tap, l = 0;
  }
#pragma GCC unroll 14
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) store(buffer + r * kPanel + v * kLanes, acc[r][v]);
}

template <class T> using Block = void (*)(const Product&, const char*, const T*, float*);
#if defined(__AVX512F__)
#define SALON_BLOCKS(f, V) \
  {f(1, V), f(2, V), f(3, V), f(4, V), f(5, V), f(6, V), f(7, V), f(8, V), f(9, V), f(10, V), f(11, V), f(12, V), f(13, V), f(14, V)}
#else
#define SALON_BLOCKS(f, V) {f(1, V), f(2, V), f(3, V), f(4, V), f(5, V), f(6, V)}
#endif
#define SALON_BLOCK(R, V) block<T, R, V>
#define SALON_FUSED(R, V) block_fused<R, V>
// The result's [R - 1] handles R pixels and `vectors` vectors.
template <class T> const Block<T>* blocks_of(int vectors) {
  static constexpr Block<T> of[2][kBlock] = {SALON_BLOCKS(SALON_BLOCK, 1), SALON_BLOCKS(SALON_BLOCK, 2)};
#if defined(__AVX512BF16__) && !defined(SALON_AMX)
  if constexpr (sizeof(T) == 2) {
    static constexpr Block<T> fused[2][kBlock] = {SALON_BLOCKS(SALON_FUSED, 1), SALON_BLOCKS(SALON_FUSED, 2)};
    if (__builtin_cpu_is("intel")) return fused[vectors - 1];
  }
#endif
  return of[vectors - 1];
}

#define SALON_PART(R, V) block_part<R, V>
using BlockPart = void (*)(const Product&, const Part&, const char*, const float*, float*);
// As blocks_of.
const BlockPart* parts_of(int vectors) {
  static constexpr BlockPart of[2][kBlock] = {SALON_BLOCKS(SALON_PART, 1), SALON_BLOCKS(SALON_PART, 2)};
  return of[vectors - 1];
}

#if defined(SALON_AMX)
// 32 x 32 outputs in four tiles; `Pixels` and `Columns` say how many of the two sixteens there are.
template <int Pixels, int Columns>
void block_tiles(const Product& p, const char* x0, const char* x1, const uint16_t* weights, float* buffer) {
  tile_zero<0>();
  if (Columns > 1) tile_zero<1>();
  if (Pixels > 1) tile_zero<2>();
  if (Pixels > 1 && Columns > 1) tile_zero<3>();
  const uint16_t* b = weights;
  for (int t = 0; t < p.count; ++t) {
    for (int64_t l = 0; l < p.lines; ++l, b += kDepth * kPanel) {
      const int64_t at = p.taps[t] + l * p.line_stride;
      tile_load<6>(b, 4 * kPanel);
      tile_load<4>(x0 + at, p.pixel_stride);
      tile_dot<0, 4, 6>();
      if (Columns > 1) {
        tile_load<7>(b + kPanel, 4 * kPanel);
        tile_dot<1, 4, 7>();
      }
      if (Pixels > 1) {
        tile_load<5>(x1 + at, p.pixel_stride);
        tile_dot<2, 5, 6>();
        if (Columns > 1) tile_dot<3, 5, 7>();
      }
    }
  }
  tile_store<0>(buffer, 4 * kPanel);
  if (Columns > 1) tile_store<1>(buffer + 16, 4 * kPanel);
  if (Pixels > 1) tile_store<2>(buffer + 16 * kPanel, 4 * kPanel);
  if (Pixels > 1 && Columns > 1) tile_store<3>(buffer + 16 * kPanel + 16, 4 * kPanel);
}
#endif

}  // namespace
}  // namespace salon::SALON_ISA_NS
