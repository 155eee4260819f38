// Attention's products on AMX tiles (bf16). A group is up to 32 query rows: two tiles of rows by two tiles of columns, so
// that each loaded tile is used twice.
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

// out[rows of R tiles][columns] (+)= a . panels, over `tiles` tiles of depth; panels are `next` elements apart. Tiles 0-3
// hold sums, 4-5 rows, 6-7 columns. A block's sums are stored when the next one needs their tile: a store right behind the
// last product would wait for it, and everything else for the store.
template <int R>
SALON_INLINE void tile_rows(const uint16_t* a, int64_t a_stride, const uint16_t* panel, int64_t next, int64_t tiles,
                            int64_t columns, float* out, int64_t stride, Into into) {
  const int64_t below = 16 * stride;
  float* done = nullptr;
  for (int64_t c = 0; c < columns; c += kWide, panel += next, out += kWide) {
    for (int64_t d = 0; d < tiles; ++d) {
      const uint16_t* b = panel + d * (16 * kWide * 2);
      tile_load<6>(b, kTileRowBytes);
      tile_load<4>(a + d * 32, a_stride * 2);
      if (d == 0) next_sums<0>(done, out, stride, into);
      tile_dot<0, 4, 6>();
      tile_load<7>(b + kWide, kTileRowBytes);
      if (d == 0) next_sums<1>(done ? done + 16 : nullptr, out + 16, stride, into);
      tile_dot<1, 4, 7>();
      if constexpr (R == 2) {
        tile_load<5>(a + 16 * a_stride + d * 32, a_stride * 2);
        if (d == 0) next_sums<2>(done ? done + below : nullptr, out + below, stride, into);
        tile_dot<2, 5, 6>();
        if (d == 0) next_sums<3>(done ? done + below + 16 : nullptr, out + below + 16, stride, into);
        tile_dot<3, 5, 7>();
      }
    }
    done = out;
  }
  tile_store<0>(done, stride * 4);
  tile_store<1>(done + 16, stride * 4);
  if constexpr (R == 2) tile_store<2>(done + below, stride * 4);
  if constexpr (R == 2) tile_store<3>(done + below + 16, stride * 4);
}

// As the functions of these names in attention_dot.h; rows and columns up to a multiple of 16 or 32 are read and written.
SALON_INLINE void score_panels(const uint16_t* q, int64_t n, const uint16_t* panels, int64_t keys,
                               const Layout<uint16_t>& layout, float* scores) {
  const int64_t tiles = layout.padded / 32, next = kWide * layout.padded;
  if (n > 16) tile_rows<2>(q, layout.padded, panels, next, tiles, keys, scores, kScoreStride, Into::fresh);
  else tile_rows<1>(q, layout.padded, panels, next, tiles, keys, scores, kScoreStride, Into::fresh);
}
SALON_INLINE void value_panels(const float* weights, int64_t n, const uint16_t* panels, int64_t keys,
                               const Layout<uint16_t>& layout, float* out, Into into) {
  const uint16_t* a = reinterpret_cast<const uint16_t*>(weights);
  const int64_t tiles = ceil_div(keys, 32), next = kWide * round_up(keys, kWide);
  if (n > 16) tile_rows<2>(a, kScoreStride * 2, panels, next, tiles, layout.cols, out, layout.cols, into);
  else tile_rows<1>(a, kScoreStride * 2, panels, next, tiles, layout.cols, out, layout.cols, into);
}

}  // namespace
}  // namespace salon::SALON_ISA_NS
