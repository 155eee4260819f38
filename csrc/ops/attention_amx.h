// The products and the pass over key blocks on AMX tiles (bf16).
//
// A group is up to 32 query rows: two tiles of rows by two tiles of columns, so that each loaded tile is used twice.
// TMUL and the vector units are separate: at a head width of 64 the exponentials cost more time than the products. So the
// stream of instructions alternates between the two, over independent data: the scores of the NEXT item (group and key
// block) are multiplied between the exponentials of this one, and the maxima of the next are taken between this one's
// value products. An out-of-order core then runs both at once.
#pragma once
#include "amx.h"
#include "attention_state.h"

namespace salon::SALON_ISA_NS {
namespace {

constexpr int64_t kTileRowBytes = 2 * kWide * 2;  // a step of a panel: kWide pairs

// out[rows of R tiles][C tiles] (+)= a . panel, over `tiles` tiles of depth. Tiles 0-3 accumulate, 4-5 rows, 6-7 columns.
template <int R, int C>
SALON_INLINE void tile_block(const uint16_t* a, int64_t a_stride, const uint16_t* panel, int64_t tiles, float* out,
                             int64_t stride, Into into) {
  float* below = out + 16 * stride;
  if (into == Into::add) {
    tile_load<0>(out, stride * 4);
    if constexpr (C == 2) tile_load<1>(out + 16, stride * 4);
    if constexpr (R == 2) tile_load<2>(below, stride * 4);
    if constexpr (R == 2 && C == 2) tile_load<3>(below + 16, stride * 4);
  } else {
    tile_zero<0>();
    if constexpr (C == 2) tile_zero<1>();
    if constexpr (R == 2) tile_zero<2>();
    if constexpr (R == 2 && C == 2) tile_zero<3>();
  }
  for (int64_t d = 0; d < tiles; ++d) {
    const uint16_t* b = panel + d * (16 * kWide * 2);
    tile_load<6>(b, kTileRowBytes);
    tile_load<4>(a + d * 32, a_stride * 2);
    tile_dot<0, 4, 6>();
    if constexpr (C == 2) {
      tile_load<7>(b + kWide, kTileRowBytes);
      tile_dot<1, 4, 7>();
    }
    if constexpr (R == 2) {
      tile_load<5>(a + 16 * a_stride + d * 32, a_stride * 2);
      tile_dot<2, 5, 6>();
      if constexpr (C == 2) tile_dot<3, 5, 7>();
    }
  }
  tile_store<0>(out, stride * 4);
  if constexpr (C == 2) tile_store<1>(out + 16, stride * 4);
  if constexpr (R == 2) tile_store<2>(below, stride * 4);
  if constexpr (R == 2 && C == 2) tile_store<3>(below + 16, stride * 4);
}

SALON_INLINE void tile_rows(const uint16_t* a, int64_t a_stride, int64_t n, const uint16_t* panel, int64_t tiles,
                            int64_t columns, float* out, int64_t stride, Into into) {
  if (n > 16) {
    if (columns > 16) tile_block<2, 2>(a, a_stride, panel, tiles, out, stride, into);
    else tile_block<2, 1>(a, a_stride, panel, tiles, out, stride, into);
  } else {
    if (columns > 16) tile_block<1, 2>(a, a_stride, panel, tiles, out, stride, into);
    else tile_block<1, 1>(a, a_stride, panel, tiles, out, stride, into);
  }
}

// As the functions of these names in attention_dot.h; rows up to a multiple of 16 are read and written.
SALON_INLINE void score_panel(const uint16_t* q, int64_t n, const uint16_t* panel, int64_t keys,
                              const Layout<uint16_t>& layout, float* scores) {
  tile_rows(q, layout.padded, n, panel, layout.padded / 32, keys, scores, kScoreStride, Into::fresh);
}
SALON_INLINE void value_panel(const float* weights, int64_t n, const uint16_t* panel, int64_t keys, int64_t width, float* out,
                              int64_t stride, Into into) {
  tile_rows(reinterpret_cast<const uint16_t*>(weights), kScoreStride * 2, n, panel, ceil_div(keys, 32), width, out, stride,
            into);
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

// As attend() in attention.cpp for n <= kRows rows, but one item ahead of itself. `scores` holds two groups.
SALON_INLINE void attend(const uint16_t* q, int64_t n, const uint16_t* packed, int64_t keys, const Layout<uint16_t>& layout,
                         float scale, State& state, float* scores) {
  const int64_t groups = ceil_div(n, kGroup<uint16_t>), items = groups * ceil_div(keys, kKeys);
  Item next = item_at(0, groups, n, packed, keys, layout, scores);
  const auto score = [&](const Item& item, int64_t panel) {
    const int64_t first = panel * kWide;
    score_panel(q + item.row * layout.padded, item.rows, item.block + first * layout.padded, item.keys - first, layout,
                item.scores + first);
  };
  for (int64_t p = 0; p * kWide < next.keys; ++p) score(next, p);
  for (int64_t r = 0; r < next.rows; ++r) raise_top(state, next.row + r, next.scores + r * kScoreStride, next.keys, true);

  for (int64_t i = 0; i < items; ++i) {
    const Item item = next;
    const bool last = i + 1 == items;
    if (!last) next = item_at(i + 1, groups, n, packed, keys, layout, scores);
    const int64_t panels = last ? 0 : ceil_div(next.keys, kWide), shares = most(1, panels);
    if (!item.first) fade_factors(state, item.row, item.rows, scale);
    for (int64_t p = 0, r = 0; p < shares; ++p) {
      if (p < panels) score(next, p);
      for (const int64_t end = item.rows * (p + 1) / shares; r < end; ++r)
        weigh_row<uint16_t>(state, item.row + r, item.scores + r * kScoreStride, item.keys, scale, item.first, layout.cols);
    }
    const uint16_t* values = item.block + layout.values(item.keys);
    const int64_t rows = last ? 0 : next.rows, columns = layout.cols / kWide;
    for (int64_t c = 0, r = 0; c < columns; ++c) {
      value_panel(item.scores, item.rows, values + c * kWide * round_up(item.keys, kWide), item.keys,
                  layout.width - c * kWide, state.out + item.row * layout.cols + c * kWide, layout.cols,
                  item.first ? Into::fresh : Into::add);
      for (const int64_t end = rows * (c + 1) / columns; r < end; ++r)
        raise_top(state, next.row + r, next.scores + r * kScoreStride, next.keys, next.first);
    }
  }
}

}  // namespace
}  // namespace salon::SALON_ISA_NS
