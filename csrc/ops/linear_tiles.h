// linear on AMX tiles: blocks of 32 rows x 32 columns.
//
// The vector units finish a block (bias, activation, the way out) while the tiles multiply the next: a few vectors behind
// each step of the depth, and the sums leave the tiles between the first products of the next block. That is 1.3 to 1.8
// times the speed of one after the other. A task is a share of the rows by a group of panels whose weights stay in L2. A
// deep layer is taken in slices of the depth: sums wait in memory and go on in the order of the depth, so that no result
// shows it.
#pragma once
#include "amx.h"
#include "linear_finish.h"
#include "memory.h"
#include "pool.h"

namespace salon::SALON_ISA_NS {
namespace {

constexpr int kBlock = 32;            // rows of a block
constexpr int kSums = kBlock * int(kPanel);
constexpr int kPiece = 6;             // vectors finished behind a step: more of them would keep the next products waiting
constexpr int64_t kMostDepth = 2048;  // of a slice
constexpr int64_t kMostBlocks = 16;   // of a task: their slice of the rows and a group's weights share L2
constexpr int64_t kFetchDepth = 1024;   // deeper layers wait for L2 already: no fetching ahead
constexpr int64_t kStepBytes = kDepth * kPanel * 2;  // of a panel's weights

// ---- finishing a block of 32 x 32 sums ------------------------------------------------------------------------------

enum class Way { bf16, bf16_gelu_tanh, f32, residual, gated, apart };  // apart: by `Finish`, behind the products

struct TileBlock {
  float* sums;  // [32][32]
  int64_t row, panel;
  int rows;
  bool whole;   // 32 rows and 32 columns, finished in pieces
  bool last;    // slice of the depth: the sums are complete
};

Way way_of(const LinearArgs& a) {
  if (a.num_terms) return Way::apart;
  if (a.residual) return a.gate.data ? Way::gated : Way::residual;
  if (a.act == Act::none) return a.out.dtype == Dtype::bf16 ? Way::bf16 : Way::f32;
  return a.act == Act::gelu_tanh && a.out.dtype == Dtype::bf16 ? Way::bf16_gelu_tanh : Way::apart;
}

// A piece is vectors v .. v + V of a block. Its four steps stand apart, so that its chain of operations does not fill the
// scheduler, in which the products wait as well.
template <Way W, int V> SALON_INLINE void piece_begin(const LinearArgs& a, const TileBlock& b, int v, CoarseGelu<V>& p) {
  const float* bias = a.w->bias + b.panel * kPanel;
  for (int i = 0; i < V; ++i) p.x[i] = load(b.sums + (v + i) * kLanes) + load(bias + (v + i) % kVectors * kLanes);
  if constexpr (W == Way::bf16_gelu_tanh) gelu_power(p);
}
template <Way W, int V> SALON_INLINE void piece_split(CoarseGelu<V>& p) {
  if constexpr (W == Way::bf16_gelu_tanh) gelu_split(p);
}
template <Way W, int V> SALON_INLINE void piece_raise(CoarseGelu<V>& p) {
  if constexpr (W == Way::bf16_gelu_tanh) gelu_raise(p);
}
template <Way W, int V> SALON_INLINE void piece_end(const LinearArgs& a, const TileBlock& b, int v, CoarseGelu<V>& p) {
  if constexpr (W == Way::bf16_gelu_tanh) gelu_divide(p);
  for (int i = 0; i < V; i += kVectors) {
    const int64_t row = b.row + (v + i) / kVectors, col = b.panel * kPanel;
    if constexpr (W == Way::bf16 || W == Way::bf16_gelu_tanh) {
      _mm512_storeu_si512(row_of<uint16_t>(a.out, row) + col, (__m512i)_mm512_cvtne2ps_pbh(p.x[i + 1].v, p.x[i].v));
    } else {
      float* o = row_of<float>(a.out, row) + col;
      const float* gate = W == Way::gated ? row_of<const float>(a.gate, a.row_owner[row]) + col : nullptr;
      for (int j = 0; j < kVectors; ++j) {
        vf y = p.x[i + j];
        if constexpr (W == Way::residual) y = y + load(o + j * kLanes);
        if constexpr (W == Way::gated) y = fma(load(gate + j * kLanes), y, load(o + j * kLanes));
        store(o + j * kLanes, y);
      }
    }
  }
}

template <Way W, int V> SALON_INLINE void piece_whole(const LinearArgs& a, const TileBlock& b, int v) {
  CoarseGelu<V> piece;
  piece_begin<W>(a, b, v, piece);
  piece_split<W>(piece);
  piece_raise<W>(piece);
  piece_end<W>(a, b, v, piece);
}

// What is left of a block from vector v on.
template <Way W> SALON_INLINE void finish_rest(const LinearArgs& a, Finish finish, const TileBlock& b, int v) {
  if (!b.sums || !b.last) return;
  if (W == Way::apart || !b.whole) return finish(a, b.sums, b.row, b.rows, b.panel);
  for (; v + 4 <= kSums / kLanes; v += 4) piece_whole<W, 4>(a, b, v);
  if (v < kSums / kLanes) piece_whole<W, 2>(a, b, v);
}

// ---- products -------------------------------------------------------------------------------------------------------

struct Operands { const char *x, *w; int64_t stride; };  // first rows and weights of a block, bytes between rows

// Tiles 0 1 / 2 3 are the quarters of a block's sums.
template <int T> constexpr int64_t kQuarter = T / 2 * 16 * kPanel + T % 2 * 16;
template <int T> SALON_INLINE void tile_put(float* sums) { tile_store<T>(sums + kQuarter<T>, 4 * kPanel); }
// From the sums of one block (null: none) to those at which another begins (null: zero).
template <int T> SALON_INLINE void tile_change(float* from, const float* to) {
  if (from) tile_put<T>(from);
  if (to) tile_load<T>(to + kQuarter<T>, 4 * kPanel);
  else tile_zero<T>();
}

// Fetches some lines of the next task's weights at each step. This saves 5 % of a step of the embedded model.
struct Fetch { const char* w; int lines; };
SALON_INLINE void fetch_step(Fetch& f) {
  for (int i = 0; i < f.lines; ++i, f.w += 64) __builtin_prefetch(f.w, 0, 2);
}

// The products of a block, from the sums at `begin` (null: zero) on; they stay in the tiles. `open`: the block before, whose
// sums are still there (sums null: none). Rows go to tiles 4 / 5, weights to 6 7; the order of the loads, and what of a
// piece stands between them, is the fastest of a dozen.
template <Way W>
SALON_INLINE void block_tiles(const LinearArgs& a, Finish finish, Operands o, int64_t steps, const float* begin,
                              const TileBlock& open, Fetch fetch) {
  const int64_t half = 16 * o.stride;
  tile_load<4>(o.x, o.stride);
  tile_load<6>(o.w, 4 * kPanel);
  tile_change<0>(open.sums, begin);
  tile_dot<0, 4, 6>();
  tile_load<7>(o.w + 64, 4 * kPanel);
  tile_change<1>(open.sums, begin);
  tile_dot<1, 4, 7>();
  tile_load<5>(o.x + half, o.stride);
  tile_change<2>(open.sums, begin);
  tile_dot<2, 5, 6>();
  tile_change<3>(open.sums, begin);
  tile_dot<3, 5, 7>();
  int v = open.sums && open.last && open.whole && W != Way::apart ? 0 : kSums / kLanes;
  int64_t i = 1;
  for (; i < steps && v + kPiece <= kSums / kLanes; ++i, v += kPiece) {
    CoarseGelu<kPiece> piece;
    fetch_step(fetch);
    o.x += 64;
    o.w += kStepBytes;
    tile_load<4>(o.x, o.stride);
    piece_begin<W>(a, open, v, piece);
    tile_load<6>(o.w, 4 * kPanel);
    piece_split<W>(piece);
    tile_load<7>(o.w + 64, 4 * kPanel);
    tile_dot<0, 4, 6>();
    piece_raise<W>(piece);
    tile_load<5>(o.x + half, o.stride);
    tile_dot<1, 4, 7>();
    piece_end<W>(a, open, v, piece);
    tile_dot<2, 5, 6>();
    tile_dot<3, 5, 7>();
  }
  for (; i < steps; ++i) {
    fetch_step(fetch);
    o.x += 64;
    o.w += kStepBytes;
    tile_load<4>(o.x, o.stride);
    tile_load<6>(o.w, 4 * kPanel);
    tile_load<7>(o.w + 64, 4 * kPanel);
    tile_dot<0, 4, 6>();
    tile_load<5>(o.x + half, o.stride);
    tile_dot<1, 4, 7>();
    tile_dot<2, 5, 6>();
    tile_dot<3, 5, 7>();
  }
  finish_rest<W>(a, finish, open, v);
}

// ---- a task ---------------------------------------------------------------------------------------------------------

struct Task { int64_t begin, end, first, last; };  // rows and panels

// Rows that tiles can read whole: the caller's, or a copy with zeros past the end of rows and of the depth.
SALON_INLINE const char* whole_rows(const LinearArgs& a, int64_t row, int rows, uint16_t* copy, int64_t& stride) {
  const uint16_t* x = row_of<const uint16_t>(a.x, row);
  const int64_t k = a.w->k, kp = a.w->kp;
  stride = a.x.stride * 2;
  if (rows == kBlock && k == kp) return reinterpret_cast<const char*>(x);
  for (int r = 0; r < kBlock; ++r) {
    const int64_t have = r < rows ? k : 0;
    memcpy(copy + r * kp, x + (r < rows ? r : 0) * a.x.stride, size_t(have) * 2);
    memset(copy + r * kp + have, 0, size_t(kp - have) * 2);
  }
  stride = kp * 2;
  return reinterpret_cast<const char*>(copy);
}

template <Way W> void run_tiles(const LinearArgs& a, Finish finish, Task task, int64_t depth) {
  const Packed& w = *a.w;
  const bool sliced = depth < w.kp;
  const int64_t panels = task.last - task.first, blocks = ceil_div(task.end - task.begin, kBlock);
  const int64_t group = sliced ? blocks * panels : 1;
  float* sums = static_cast<float*>(thread_scratch(size_t(group * kSums) * 4 + size_t(kBlock * w.kp) * 2));
  uint16_t* copy = reinterpret_cast<uint16_t*>(sums + group * kSums);
  const char* weights = static_cast<const char*>(w.data);
  const int64_t panel_bytes = w.kp / kDepth * kStepBytes;
  // The next group of panels, spread over this one's steps.
  const int64_t next = least(panels, w.panels - task.last) * panel_bytes, all_steps = blocks * panels * (w.kp / kDepth);
  Fetch fetch{weights + task.last * panel_bytes, w.kp > kFetchDepth ? 0 : int(ceil_div(next, all_steps * 64))};
  TileBlock open{};
  tiles_configure();
  for (int64_t k = 0; k < w.kp; k += depth) {
    const int64_t steps = least(depth, w.kp - k) / kDepth;
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t row = task.begin + b * kBlock;
      const int rows = int(least(kBlock, task.end - row));
      int64_t stride;
      const char* x = whole_rows(a, row, rows, copy, stride) + 2 * k;
      for (int64_t p = 0; p < panels; ++p) {
        const char* panel = weights + (task.first + p) * panel_bytes + k / kDepth * kStepBytes;
        const TileBlock block{sliced ? sums + (b * panels + p) * kSums : sums, row, task.first + p, rows,
                              rows == kBlock && (task.first + p + 1) * kPanel <= w.n, k + depth >= w.kp};
        block_tiles<W>(a, finish, {x, panel, stride}, steps, k ? block.sums : nullptr, open, fetch);
        fetch.w += fetch.lines * steps * 64;
        open = block;
      }
    }
  }
  tile_put<0>(open.sums);
  tile_put<1>(open.sums);
  tile_put<2>(open.sums);
  tile_put<3>(open.sums);
  finish_rest<W>(a, finish, open, 0);
  tiles_release();
}

using RunTiles = void (*)(const LinearArgs&, Finish, Task, int64_t depth);
RunTiles choose_tiles(const LinearArgs& a) {
  switch (way_of(a)) {
    case Way::bf16: return run_tiles<Way::bf16>;
    case Way::bf16_gelu_tanh: return run_tiles<Way::bf16_gelu_tanh>;
    case Way::f32: return run_tiles<Way::f32>;
    case Way::residual: return run_tiles<Way::residual>;
    case Way::gated: return run_tiles<Way::gated>;
    default: return run_tiles<Way::apart>;
  }
}

// Bytes of a group's weights. They lie in L2 beside the rows if these fit; else rows pass L2 once for a large group.
SALON_INLINE int64_t group_bytes(int64_t blocks, int64_t depth, bool sliced) {
  constexpr int64_t kKiB = 1024, kRoom = 1536 * kKiB;
  const int64_t rows = blocks * kBlock * depth * 2;
  if (sliced) return 768 * kKiB;  // the sums take part of L2 as well
  return rows > 1280 * kKiB ? kRoom : least(384 * kKiB, kRoom - rows);
}

void linear_tiles(const LinearArgs& args) {
  const Packed& w = *args.w;
  struct Job { const LinearArgs* a; Finish finish; RunTiles run; int64_t depth, rows, panels, groups; };
  const int64_t depth = round_up(ceil_div(w.kp, ceil_div(w.kp, kMostDepth)), kDepth);
  const int64_t blocks = ceil_div(args.x.rows, kBlock);
  // A share of the rows for each thread, and enough groups that a thread that is ahead can help. Few rows: more groups.
  int64_t shares = ceil_div(blocks, kMostBlocks);
  if (args.threads > 1) shares = least(most(shares, args.threads), most(1, blocks / 2));
  int64_t groups = ceil_div(w.panels * depth * kPanel * 2, group_bytes(ceil_div(blocks, shares), depth, depth < w.kp));
  if (args.threads > 1) groups = least(most(groups, ceil_div(4 * args.threads, shares)), w.panels);
  const int64_t panels = ceil_div(w.panels, groups), rows = ceil_div(blocks, shares) * kBlock;
  Job job{&args, choose(args), choose_tiles(args), depth, rows, panels, ceil_div(w.panels, panels)};
  parallel(ceil_div(args.x.rows, rows) * job.groups, [](void* context, int64_t task) {
    const Job& j = *static_cast<Job*>(context);
    const int64_t begin = task / j.groups * j.rows, first = task % j.groups * j.panels;
    j.run(*j.a, j.finish, {begin, least(begin + j.rows, j.a->x.rows), first, least(first + j.panels, j.a->w->panels)}, j.depth);
  }, &job, args.threads);
}

}  // namespace
}  // namespace salon::SALON_ISA_NS
