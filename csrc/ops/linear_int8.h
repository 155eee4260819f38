// linear with weights in int8. For linear.cpp.
//
// Every kGroup numbers of a row are rounded to int16 by a scale of their own. Their products with int8 are summed as
// integers, exactly, since a group's sum fits 32 bits; y = (sum over groups, in order, of group sum * group scale) * scale of
// the column, each operation rounded to float32 by itself. So every instruction set gives the same bits. AVX2 multiplies
// int16 in pairs at twice the rate of float32, whichever side has only 8 bits: rows of 8 bits would win nothing and lose
// what text encoders with outliers need.
//
// AVX512 takes the 256-bit instructions too: what cannot be run where Salon is built is not written.
#pragma once
#include "linear_finish.h"
#include "memory.h"
#include "pool.h"
#include "round_int8.h"

namespace salon::SALON_ISA_NS {
namespace {

constexpr int64_t kGroup = 512;            // inputs that share a scale of a row: 16 KiB of a panel's weights
constexpr int kRows8 = 6;                  // rows of a block
constexpr int64_t kRoundedBytes = 32 << 20;  // of rows that are rounded at a time
constexpr int64_t kChunk8 = 256;           // rows of a task
static_assert(kGroup % kQuad == 0 && kGroup * 32767 * 127 < (int64_t(1) << 31), "whole quads, and sums of 32 bits");

// Rows of a call, rounded.
struct Rows8 {
  int16_t* numbers;   // [rows][kp]
  float* scales;      // [rows][groups]
  int64_t kp, groups;
};

template <class T> void round_row(const T* x, int64_t k, int16_t* out, int64_t kp, float* scales) {
  for (int64_t i = 0; i < k; i += kGroup, ++scales) {
    const int64_t n = least(kGroup, k - i);
    const Scale s = scale_of(x + i, n, kMost16);
    *scales = s.scale;
    if (s.inverse == 0) memset(out + i, 0, size_t(n) * 2);
    else
      for (int64_t j = i; j < i + n; ++j) out[j] = int16_t(rounded(number(x[j]), s.inverse));
  }
  for (int64_t j = k; j < kp; ++j) out[j] = 0;
}

// sums: of R rows by 8 columns, the products of a group.
#if defined(__AVX2__)
using vf8 = __m256;
template <int R> SALON_INLINE void group_sums(const int16_t* x, int64_t stride, const int8_t* w, int64_t quads, vf8* sums) {
  __m256i acc[R][2];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) acc[r][0] = acc[r][1] = _mm256_setzero_si256();
  for (int64_t q = 0; q < quads; ++q, w += kPanel * kQuad) {
    const __m256i w0 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)w));
    const __m256i w1 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)(w + 16)));
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      int64_t four;
      memcpy(&four, x + r * stride + q * kQuad, 8);
      const __m256i v = _mm256_set1_epi64x(four);
      acc[r][0] = _mm256_add_epi32(acc[r][0], _mm256_madd_epi16(v, w0));
      acc[r][1] = _mm256_add_epi32(acc[r][1], _mm256_madd_epi16(v, w1));
      asm volatile("" : "+x"(acc[r][0]), "+x"(acc[r][1]));  // one row after the other: else sums leave the 16 registers
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {  // each column has two sums side by side
    const __m256i both = _mm256_hadd_epi32(acc[r][0], acc[r][1]);
    sums[r] = _mm256_cvtepi32_ps(_mm256_permute4x64_epi64(both, 0xd8));
  }
}
SALON_INLINE void add_group(float* buffer, vf8 sums, float scale, bool more) {
  const __m256 y = _mm256_mul_ps(sums, _mm256_set1_ps(scale));
  _mm256_storeu_ps(buffer, more ? _mm256_add_ps(_mm256_loadu_ps(buffer), y) : y);
}
#else
struct vf8 { float v[8]; };
template <int R> SALON_INLINE void group_sums(const int16_t* x, int64_t stride, const int8_t* w, int64_t quads, vf8* sums) {
  for (int r = 0; r < R; ++r) {
    int32_t acc[8] = {};
    const int8_t* four = w;
    for (int64_t q = 0; q < quads; ++q, four += kPanel * kQuad)
      for (int c = 0; c < 8; ++c)
        for (int i = 0; i < kQuad; ++i) acc[c] += int32_t(x[r * stride + q * kQuad + i]) * four[c * kQuad + i];
    for (int c = 0; c < 8; ++c) sums[r].v[c] = float(acc[c]);
  }
}
SALON_INLINE void add_group(float* buffer, const vf8& sums, float scale, bool more) {
  for (int c = 0; c < 8; ++c) {
    const float y = sums.v[c] * scale;
    buffer[c] = more ? buffer[c] + y : y;
  }
}
#endif

// A group of a block of R rows by a panel, added to `buffer` [R][32] if there is `more`.
template <int R>
void block_int8(const int16_t* x, int64_t stride, const float* scales, int64_t groups, const int8_t* panel, int64_t quads,
                bool more, float* buffer) {
  for (int64_t column = 0; column < kPanel; column += 8) {
    vf8 sums[R];
    group_sums<R>(x, stride, panel + column * kQuad, quads, sums);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) add_group(buffer + r * kPanel + column, sums[r], scales[r * groups], more);
  }
}

using Block8 = void (*)(const int16_t*, int64_t, const float*, int64_t, const int8_t*, int64_t, bool, float*);

// Multiplies by the scales of the columns.
SALON_INLINE void scale_columns(float* buffer, int rows, const float* scale) {
  for (int r = 0; r < rows; ++r)
    for (int j = 0; j < kVectors; ++j)
      store(buffer + r * kPanel + j * kLanes, load(buffer + r * kPanel + j * kLanes) * load(scale + j * kLanes));
}

// Rows begin .. end, of which `x` has the first at `base`, by one panel.
void run_chunk_int8(const LinearArgs& a, const Rows8& x, int64_t base, int64_t panel, int64_t begin, int64_t end, Finish finish) {
  static constexpr Block8 blocks[kRows8] = {block_int8<1>, block_int8<2>, block_int8<3>, block_int8<4>, block_int8<5>, block_int8<6>};
  const Packed& w = *a.w;
  const int8_t* weights = static_cast<const int8_t*>(w.data) + panel * w.kp * kPanel;
  float* sums = static_cast<float*>(thread_scratch(size_t((end - begin + kRows8) * kPanel) * 4));
  for (int64_t i = 0; i < w.kp; i += kGroup)
    for (int64_t row = begin; row < end; row += kRows8) {
      const int rows = int(least(kRows8, end - row));
      float* buffer = sums + (row - begin) * kPanel;
      blocks[rows - 1](x.numbers + (row - base) * x.kp + i, x.kp, x.scales + (row - base) * x.groups + i / kGroup, x.groups,
                       weights + i * kPanel, least(kGroup, w.kp - i) / kQuad, i > 0, buffer);
      if (i + kGroup < w.kp) continue;
      scale_columns(buffer, rows, w.scale + panel * kPanel);
      finish(a, buffer, row, rows, panel);
    }
}

void linear_int8(const LinearArgs& args, Finish finish) {
  const Packed& w = *args.w;
  struct Job { const LinearArgs* a; Rows8 x; int64_t base, end, chunk; Finish finish; };
  Job job{&args, {nullptr, nullptr, w.kp, ceil_div(w.k, kGroup)}, 0, 0, kChunk8, finish};
  const int64_t row_bytes = w.kp * 2 + job.x.groups * 4;
  const int64_t most_rows = most(1, least(args.x.rows, kRoundedBytes / row_bytes));
  job.x.scales = static_cast<float*>(args.memory->take(size_t(most_rows * row_bytes)));
  job.x.numbers = reinterpret_cast<int16_t*>(job.x.scales + most_rows * job.x.groups);
  for (; job.base < args.x.rows; job.base = job.end) {
    job.end = least(args.x.rows, job.base + most_rows);
    const int64_t rows = job.end - job.base;
    parallel(rows, [](void* context, int64_t row) {
      const Job& j = *static_cast<Job*>(context);
      const View& x = j.a->x;
      int16_t* out = j.x.numbers + row * j.x.kp;
      float* scales = j.x.scales + row * j.x.groups;
      if (x.dtype == Dtype::bf16) round_row(row_of<const uint16_t>(x, j.base + row), x.cols, out, j.x.kp, scales);
      else round_row(row_of<const float>(x, j.base + row), x.cols, out, j.x.kp, scales);
    }, &job, args.threads);
    // Few panels: cut the rows further, so that every thread has work.
    job.chunk = kChunk8;
    while (args.threads > 1 && ceil_div(rows, job.chunk) * w.panels < 4 * args.threads && job.chunk > 4 * kRows8) job.chunk /= 2;
    parallel(ceil_div(rows, job.chunk) * w.panels, [](void* context, int64_t task) {
      const Job& j = *static_cast<Job*>(context);
      const int64_t begin = j.base + task / j.a->w->panels * j.chunk;
      run_chunk_int8(*j.a, j.x, j.base, task % j.a->w->panels, begin, least(begin + j.chunk, j.end), j.finish);
    }, &job, args.threads);
  }
}

}  // namespace
}  // namespace salon::SALON_ISA_NS
