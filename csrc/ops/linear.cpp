// linear: rows x packed weight with a fused epilogue.
//
// A task is one panel of 32 output columns over one chunk of rows that fits L2. Rows are shared out among the threads before
// columns: a thread then finds its rows in its own cache, and only weights move between caches. Within a task a block
// of rows by 32 columns is accumulated in registers over the depth, in order, stored to an L1 buffer, and finished from
// there. So a row's sums do not depend on the rows beside it. AMX: linear_tiles.h.
#include "memory.h"
#include "pool.h"
#include "linear_finish.h"
#include "linear_int8.h"
#if defined(SALON_AMX)
#include "linear_tiles.h"
#endif

namespace salon::SALON_ISA_NS {

void linear(const LinearArgs&);

namespace {

#if defined(__AVX512F__)
constexpr int kRows = 12;  // 12 x 2 accumulators + 2 weights + 1 input of 32 registers
#else
constexpr int kRows = 6;
#endif
constexpr int64_t kChunkBytes = 384 * 1024;
constexpr int64_t kSlice = 1024;     // elements of depth
constexpr int64_t kFetchLines = 32;  // more at a time would hold up the block of rows that fetches them
constexpr int64_t kFewBlocks = 4;    // fewer blocks of rows to a thread: share out the columns instead

// Elements of depth that are taken at a time: equal even parts of some kSlice, all of a shallow layer.
SALON_INLINE int64_t slice_of(int64_t k) {
  return k < 2 * kSlice ? k : ceil_div(ceil_div(k, k / kSlice), 2) * 2;
}

// ---- blocks: `R` rows x 32 columns into buffer [R][32], going on with the sums that it holds if there is `more` ---

template <int R> void block_f32(const float* x, int64_t stride, const float* panel, int64_t k, bool more, float* buffer) {
  for (int half = 0; half < kVectors; half += 2) {  // two vectors of columns at a time
    vf acc[R][2];
    for (int r = 0; r < R; ++r)
      for (int v = 0; v < 2; ++v) acc[r][v] = more ? load(buffer + r * kPanel + (half + v) * kLanes) : set1(0);
    const float* b = panel + half * kLanes;
#pragma GCC unroll 4
    for (int64_t i = 0; i < k; ++i, b += kPanel) {
      const vf b0 = load(b), b1 = load(b + kLanes);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        const vf v = set1(x[r * stride + i]);
        acc[r][0] = fma(v, b0, acc[r][0]);
        acc[r][1] = fma(v, b1, acc[r][1]);
      }
    }
    for (int r = 0; r < R; ++r) {
      store(buffer + r * kPanel + half * kLanes, acc[r][0]);
      store(buffer + r * kPanel + (half + 1) * kLanes, acc[r][1]);
    }
  }
}

#if defined(__AVX512BF16__) && !defined(SALON_AMX)
SALON_INLINE __m512bh pair_of(const uint16_t* p) {
  int32_t pair;
  memcpy(&pair, p, 4);
  return (__m512bh)_mm512_set1_epi32(pair);
}

template <int R>
void block_dot(const uint16_t* x, int64_t stride, const uint16_t* panel, int64_t k, bool more, float* buffer) {
  __m512 acc[R][2];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < 2; ++v) acc[r][v] = more ? _mm512_loadu_ps(buffer + r * kPanel + 16 * v) : _mm512_setzero_ps();
  const uint16_t* b = panel;
  int64_t i = 0;
  for (; i + 2 <= k; i += 2, b += 2 * kPanel) {
    const __m512bh b0 = (__m512bh)_mm512_loadu_si512(b), b1 = (__m512bh)_mm512_loadu_si512(b + kPanel);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const __m512bh v = pair_of(x + r * stride + i);
      acc[r][0] = _mm512_dpbf16_ps(acc[r][0], v, b0);
      acc[r][1] = _mm512_dpbf16_ps(acc[r][1], v, b1);
    }
  }
  if (i < k) {  // an odd depth: the pair's second half is zero on both sides
    const __m512bh b0 = (__m512bh)_mm512_loadu_si512(b), b1 = (__m512bh)_mm512_loadu_si512(b + kPanel);
    for (int r = 0; r < R; ++r) {
      const __m512bh v = (__m512bh)_mm512_set1_epi32(x[r * stride + i]);
      acc[r][0] = _mm512_dpbf16_ps(acc[r][0], v, b0);
      acc[r][1] = _mm512_dpbf16_ps(acc[r][1], v, b1);
    }
  }
  for (int r = 0; r < R; ++r) {
    _mm512_storeu_ps(buffer + r * kPanel, acc[r][0]);
    _mm512_storeu_ps(buffer + r * kPanel + 16, acc[r][1]);
  }
}
#endif

#if defined(__AVX512BF16__) && !defined(SALON_AMX)
// The bits of block_dot at 1.6 times its speed on Intel's CPUs, whose VDPBF16PS does half as much as two multiply-adds in
// its time. It is the same as these two: a pair's second product, then its first, denormals as zero (FloatMode).
SALON_INLINE vf second_of(__m512i pairs) { return {_mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(-65536)))}; }
SALON_INLINE vf first_of(__m512i pairs) { return {_mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16))}; }

template <int R>
void block_fma(const uint16_t* x, int64_t stride, const uint16_t* panel, int64_t k, bool more, float* buffer) {
  constexpr int64_t kWide = 128;  // elements of each row that are widened at a time
  alignas(64) float wide[R][kWide];
  vf acc[R][2];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < 2; ++v) acc[r][v] = more ? load(buffer + r * kPanel + 16 * v) : set1(0);
  for (int64_t i = 0; i < k; i += kWide) {
    const int64_t n = least(kWide, k - i);
    for (int r = 0; r < R; ++r)
      for (int64_t c = 0; c < n; c += kLanes)
        store(wide[r] + c, n - c < kLanes ? load(x + r * stride + i + c, int(n - c)) : load(x + r * stride + i + c));
    for (int64_t c = 0; c < n; c += 2) {
      const __m512i b0 = _mm512_loadu_si512(panel + (i + c) * kPanel), b1 = _mm512_loadu_si512(panel + (i + c + 1) * kPanel);
      const vf even0 = first_of(b0), odd0 = second_of(b0), even1 = first_of(b1), odd1 = second_of(b1);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        const vf second = set1(wide[r][c + 1]), first = set1(wide[r][c]);
        acc[r][0] = fma(first, even0, fma(second, odd0, acc[r][0]));
        acc[r][1] = fma(first, even1, fma(second, odd1, acc[r][1]));
      }
    }
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < 2; ++v) store(buffer + r * kPanel + 16 * v, acc[r][v]);
}
#endif

template <class T> using Block = void (*)(const T* x, int64_t stride, const T* panel, int64_t k, bool more, float* buffer);

// blocks<T>()[R - 1] handles R rows.
#if defined(__AVX512F__)
#define SALON_BLOCKS(f) {f<1>, f<2>, f<3>, f<4>, f<5>, f<6>, f<7>, f<8>, f<9>, f<10>, f<11>, f<12>}
constexpr int kBlockRows = 12;
#else
#define SALON_BLOCKS(f) {f<1>, f<2>, f<3>, f<4>, f<5>, f<6>}
constexpr int kBlockRows = 6;
#endif
template <class T> const Block<T>* blocks();
template <> const Block<float>* blocks<float>() {
  static constexpr Block<float> f32[kBlockRows] = SALON_BLOCKS(block_f32);
  return f32;
}
#if defined(__AVX512BF16__) && !defined(SALON_AMX)
template <> const Block<uint16_t>* blocks<uint16_t>() {
  static constexpr Block<uint16_t> dot[kBlockRows] = SALON_BLOCKS(block_dot), fused[kBlockRows] = SALON_BLOCKS(block_fma);
  return __builtin_cpu_is("intel") ? fused : dot;
}
#endif

// A deep layer is taken in slices of the depth, so that a slice of the chunk's rows stays in L2; sums go on from slice to
// slice in the order of the depth, as if it were whole.
template <class T>
void run_chunk(const LinearArgs& a, int64_t panel, int64_t begin, int64_t end, Finish finish) {
  const Packed& w = *a.w;
  const T* weights = static_cast<const T*>(w.data) + panel * w.kp * kPanel;
  const int64_t depth = slice_of(w.k);
  alignas(64) float one_block[kBlockRows * kPanel];
  float* sums = w.k > depth ? static_cast<float*>(thread_scratch(size_t((end - begin + kBlockRows) * kPanel) * 4)) : nullptr;
  // Each block of rows fetches lines of the next panel into L2. (Fetching within a block costs more than it wins.)
  const int64_t lines = panel + 1 < w.panels ? w.kp * kPanel * int64_t(sizeof(T)) / 64 : 0;
  const int64_t part = least(ceil_div(lines, ceil_div(end - begin, kBlockRows)), kFetchLines) * 64;
  const char* next = reinterpret_cast<const char*>(weights + w.kp * kPanel);
  for (int64_t i = 0; i < w.k; i += depth) {
    for (int64_t row = begin; row < end; row += kBlockRows) {
      const int rows = int(least(kBlockRows, end - row));
      if (i == 0)
        for (const char* stop = next + part; next < stop; next += 64) __builtin_prefetch(next, 0, 2);
      float* buffer = sums ? sums + (row - begin) * kPanel : one_block;
      blocks<T>()[rows - 1](row_of<const T>(a.x, row) + i, a.x.stride, weights + i * kPanel, least(depth, w.k - i), i > 0, buffer);
      if (i + depth >= w.k) finish(a, buffer, row, rows, panel);
    }
  }
}

// Computes weight (x down^T) of every low-rank term.
void shrink(const LinearArgs& args) {
  for (int64_t m = 0; m < args.num_terms; ++m) {
    const LowRankTerm& t = args.terms[m];
    View x = args.x;
    x.data = static_cast<char*>(x.data) + t.begin * x.stride * (x.dtype == Dtype::bf16 ? 2 : 4);
    x.rows = t.end - t.begin;
    linear(LinearArgs{x, t.down, t.hidden, Act::none, false, {}, nullptr, args.threads});
    for (int64_t r = 0; r < x.rows; ++r)
      for (int64_t i = 0; i < t.hidden.cols; ++i) row_of<float>(t.hidden, r)[i] *= t.weight;
  }
}

}  // namespace

void linear(const LinearArgs& args) {
  if (!args.x.rows || !args.w->n) return;
  shrink(args);
  if (args.w->dtype == Dtype::i8) return linear_int8(args, choose(args));
#if defined(SALON_AMX)
  if (args.w->dtype == Dtype::bf16) return linear_tiles(args);
#endif
  const int64_t row_bytes = slice_of(args.w->k) * (args.w->dtype == Dtype::bf16 ? 2 : 4) + 1;
  const int64_t blocks = ceil_div(args.x.rows, kRows);
  int64_t chunks = ceil_div(args.x.rows * row_bytes, kChunkBytes);
  // A share of the rows for each thread, as long as a panel serves enough of them to be worth loading.
  if (blocks >= kFewBlocks * args.threads) chunks = ceil_div(chunks, args.threads) * args.threads;
  // Few panels (the last layer): cut the rows further, so that every thread has work.
  while (args.threads > 1 && chunks * args.w->panels < 4 * args.threads && chunks * 2 <= blocks) chunks *= 2;
  struct Job { const LinearArgs* a; int64_t rows; Finish finish; };
  Job job{&args, ceil_div(blocks, least(chunks, blocks)) * kRows, choose(args)};
  parallel(ceil_div(args.x.rows, job.rows) * args.w->panels, [](void* context, int64_t task) {
    const Job& j = *static_cast<Job*>(context);
    const LinearArgs& a = *j.a;
    const int64_t panel = task % a.w->panels, begin = task / a.w->panels * j.rows;
    const int64_t end = least(begin + j.rows, a.x.rows);
#if defined(__AVX512BF16__) && !defined(SALON_AMX)
    if (a.w->dtype == Dtype::bf16) return run_chunk<uint16_t>(a, panel, begin, end, j.finish);
#endif
    run_chunk<float>(a, panel, begin, end, j.finish);
  }, &job, args.threads);
}

}  // namespace salon::SALON_ISA_NS
