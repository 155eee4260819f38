// The products and the pass over key blocks on AMX tiles (bf16).
//
// A group is up to 32 query rows: two tiles of rows by two tiles of columns, so that each loaded tile is used twice.
// The stream of instructions alternates between products and vectors, over independent data: the scores of the NEXT item
// (group and key block) are multiplied between the exponentials of this one, and the maxima of the next are taken between
// this one's value products. (Products take one of the two ports of vectors, so finer steps win nothing more.)
#pragma once
#include "amx.h"
#include "attention_state.h"

namespace salon::SALON_ISA_NS {
namespace {

constexpr int64_t kTileRowBytes = 2 * kWide * 2;  // a step of a panel: kWide pairs

// Sums of a block in tile T: those of the block before go to `done`, if any, and this one's begin with `out` or zero.
template <int T> SALON_INLINE void next_sums(float* done, const float* out, int64_t stride, Into into) {
  if (done) tile_store<T>(done, stride * 4);
  if (into == Into::add) tile_load<T>(out, stride * 4);
  else tile_zero<T>();
}

// out[rows of R tiles][C tiles] (+)= a . panel, over `tiles` tiles of depth. Tiles 0-3 hold sums, 4-5 rows, 6-7 columns. The
// sums stay in their tiles; those of the block before are stored to `done`, if any: a store right behind the last product
// would wait for it, and everything else for the store.
template <int R, int C>
SALON_INLINE void tile_block(const uint16_t* a, int64_t a_stride, const uint16_t* panel, int64_t tiles, float* done, float* out,
                             int64_t stride, Into into) {
  const int64_t below = 16 * stride;
  for (int64_t d = 0; d < tiles; ++d) {
    const uint16_t* b = panel + d * (16 * kWide * 2);
    tile_load<6>(b, kTileRowBytes);
    tile_load<4>(a + d * 32, a_stride * 2);
    if (d == 0) next_sums<0>(done, out, stride, into);
    tile_dot<0, 4, 6>();
    if constexpr (C == 2) {
      tile_load<7>(b + kWide, kTileRowBytes);
      if (d == 0) next_sums<1>(done ? done + 16 : nullptr, out + 16, stride, into);
      tile_dot<1, 4, 7>();
    }
    if constexpr (R == 2) {
      tile_load<5>(a + 16 * a_stride + d * 32, a_stride * 2);
      if (d == 0) next_sums<2>(done ? done + below : nullptr, out + below, stride, into);
      tile_dot<2, 5, 6>();
    }
    if constexpr (R == 2 && C == 2) {
      if (d == 0) next_sums<3>(done ? done + below + 16 : nullptr, out + below + 16, stride, into);
      tile_dot<3, 5, 7>();
    }
  }
}
template <int R, int C> SALON_INLINE void store_tiles(float* out, int64_t stride) {
  const int64_t below = 16 * stride;
  tile_store<0>(out, stride * 4);
  if constexpr (C == 2) tile_store<1>(out + 16, stride * 4);
  if constexpr (R == 2) tile_store<2>(out + below, stride * 4);
  if constexpr (R == 2 && C == 2) tile_store<3>(out + below + 16, stride * 4);
}

// All panels, `next` elements apart; `between` is called after each.
template <int R, int C, class F>
SALON_INLINE void tile_rows(const uint16_t* a, int64_t a_stride, const uint16_t* panel, int64_t next, int64_t tiles,
                            int64_t columns, float* out, int64_t stride, Into into, F between) {
  float* done = nullptr;
  for (int64_t c = 0; c < columns; c += kWide, panel += next) {
    tile_block<R, C>(a, a_stride, panel, tiles, done, out + c, stride, into);
    done = out + c;
    between();
  }
  store_tiles<R, C>(done, stride);
}
template <class F>
SALON_INLINE void tile_product(int64_t n, const uint16_t* a, int64_t a_stride, const uint16_t* panel, int64_t next, int64_t tiles,
                               int64_t columns, float* out, int64_t stride, Into into, F between) {
  if (n > 16) {
    if (columns > 16) tile_rows<2, 2>(a, a_stride, panel, next, tiles, columns, out, stride, into, between);
    else tile_rows<2, 1>(a, a_stride, panel, next, tiles, columns, out, stride, into, between);
  } else {
    if (columns > 16) tile_rows<1, 2>(a, a_stride, panel, next, tiles, columns, out, stride, into, between);
    else tile_rows<1, 1>(a, a_stride, panel, next, tiles, columns, out, stride, into, between);
  }
}

// As the functions of these names in attention_dot.h; rows and columns up to a multiple of 16 or 32 are read and written.
template <class F>
SALON_INLINE void score_panels(const uint16_t* q, int64_t n, const uint16_t* panels, int64_t keys,
                               const Layout<uint16_t>& layout, float* scores, F between) {
  tile_product(n, q, layout.padded, panels, kWide * layout.padded, layout.padded / 32, keys, scores, kScoreStride, Into::fresh, between);
}
template <class F>
SALON_INLINE void value_panels(const float* weights, int64_t n, const uint16_t* panels, int64_t keys,
                               const Layout<uint16_t>& layout, float* out, Into into, F between) {
  tile_product(n, reinterpret_cast<const uint16_t*>(weights), kScoreStride * 2, panels, kWide * round_up(keys, kWide),
               ceil_div(keys, 32), layout.width, out, layout.cols, into, between);
}
SALON_INLINE void score_panels(const uint16_t* q, int64_t n, const uint16_t* panels, int64_t keys,
                               const Layout<uint16_t>& layout, float* scores) {
  score_panels(q, n, panels, keys, layout, scores, [] {});
}
SALON_INLINE void value_panels(const float* weights, int64_t n, const uint16_t* panels, int64_t keys,
                               const Layout<uint16_t>& layout, float* out, Into into) {
  value_panels(weights, n, panels, keys, layout, out, into, [] {});
}

// One group of rows against one key block.
struct Item {
  int64_t row, rows;       // first row of the group within the state, rows of it
  int64_t keys;            // of the block
  const uint16_t* block;   // keys, then values
  bool first;
  float* scores;
};
SALON_INLINE Item item_at(int64_t i, int64_t groups, int64_t n, const uint16_t* packed, int64_t keys,
                          const Layout<uint16_t>& layout, float* scores) {
  const int64_t b = i / groups, row = i % groups * kGroup<uint16_t>;
  return {row,    least(kGroup<uint16_t>, n - row), least(kKeys, keys - b * kKeys), packed + b * layout.block(kKeys),
          b == 0, scores + (i & 1) * (kGroup<uint16_t> * kScoreStride)};
}

// Does the work of attend() in attention_call.h for n <= kRows rows, with scores one item ahead. `scores` holds two
// groups.
SALON_INLINE void attend(const uint16_t* q, int64_t n, const uint16_t* packed, int64_t keys, const Layout<uint16_t>& layout,
                         float scale, State& state, float* scores, const Added& added = {}) {
  const int64_t groups = ceil_div(n, kGroup<uint16_t>), items = groups * ceil_div(keys, kKeys);
  Item next = item_at(0, groups, n, packed, keys, layout, scores);
  score_panels(q, next.rows, next.block, next.keys, layout, next.scores);
  added.to(next.scores, next.row, next.rows, 0, next.keys);
  raise_tops(state, next.row, next.rows, next.scores, next.keys, scale, true);
  for (int64_t i = 0; i < items; ++i) {
    const Item item = next;
    const bool last = i + 1 == items;
    if (!last) next = item_at(i + 1, groups, n, packed, keys, layout, scores);
    int64_t weighed = 0, raised = 0;
    const auto weigh = [&](int64_t rows) {
      for (const int64_t end = least(item.rows, weighed + rows); weighed < end; ++weighed)
        weigh_row<uint16_t>(state, item.row + weighed, item.scores + weighed * kScoreStride, item.keys, scale, item.first, layout.cols);
    };
    const auto raise = [&](int64_t rows) {
      for (const int64_t end = least(next.rows, raised + rows); raised < end; raised += kLanes)
        raise_tops(state, next.row + raised, least(kLanes, next.rows - raised), next.scores + raised * kScoreStride, next.keys,
                   scale, next.first);
    };
    if (!last) {
      const int64_t share = ceil_div(item.rows, ceil_div(next.keys, kWide));
      score_panels(q + next.row * layout.padded, next.rows, next.block, next.keys, layout, next.scores, [&] { weigh(share); });
      added.to(next.scores, next.row, next.rows, (i + 1) / groups * kKeys, next.keys);
    }
    weigh(item.rows);
    value_panels(item.scores, item.rows, item.block + layout.values(item.keys), item.keys, layout,
                 state.out + item.row * layout.cols, item.first ? Into::fresh : Into::add, [&] { if (!last) raise(kLanes); });
    if (!last) raise(next.rows);
  }
}

}  // namespace
}  // namespace salon::SALON_ISA_NS
