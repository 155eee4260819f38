// conv2d, upsample and downsample: convolutions of ragged NHWC images as implicit matrix products.
//
// A task is a tile of one image and a range of output columns ("groups" of two vectors of channels). It copies the
// tile's input with its border (zeros, or what the opposite side has) into the thread's scratch, where a pixel is
// `lines` pieces of 64 bytes (32 bf16 or 16 f32 channels, zeros past the last) and pieces come first:
// [line][row][column][64 bytes]. Neighbouring output pixels then read 64 bytes apart for any number of channels, so
// a block of them is addressed by constants, and is an AMX tile as it lies. With stride 2 a row's even columns stand
// before its odd ones, to the same end.
//
// A block of pixels is accumulated in registers (AMX: tiles) over taps and channels, in that order and never split: an
// output pixel's bits depend on its own inputs alone, not on tiles, threads or other images.
//
// Upsampling never makes the large image. Output pixels of one parity see only 2 x 2 source pixels, because some of the
// nine taps fall on the same one: each of the four parities is a 2 x 2 convolution whose weights are sums of the nine
// (PackedWeight::parities), 4/9 of the multiplications.
#include "conv2d_blocks.h"
#include "memory.h"
#include "pool.h"

namespace salon::SALON_ISA_NS {
namespace {

constexpr int64_t kScratchBytes = 192 * 1024; // aim of a tile's scratch: with a panel's weights it stays in L2
constexpr int64_t kWideScratchBytes = 2 * 1024 * 1024;  // of many channels in float32, where parts of the weights stay in L1:
constexpr int64_t kEnoughPixels = 256;                  // so many pixels are worth reading them for
constexpr int64_t kPartLines = 8;                       // of weights that stay in L1 while a tile's blocks take them
constexpr int64_t kTileColumns = 128;
constexpr int64_t kTasksPerThread = 4;

SALON_INLINE int64_t bytes_of(Dtype d) { return d == Dtype::bf16 ? 2 : 4; }

// ---- what is common to a call -------------------------------------------------------------------------------------

// "Units" are output pixels; with upsampling, source pixels, each of which makes one output pixel of every phase.
struct Plan {
  const ConvArgs* a;
  const void* weights;      // like Packed::data, with phases * taps in the place of its taps
  int side;                 // taps = side * side: 1, 3, or 2 with phases
  int phases;               // 1, or 4: parities of the output pixel, (row, column) = (phase / 2, phase % 2)
  int pad;                  // rows above and columns left of the image
  int64_t lines;            // 64-byte pieces of a pixel
  int64_t groups, parts;    // output channels in groups; tasks share a tile's groups in `parts`
  int64_t target_rows;      // rows of a tile that give every thread enough tasks
};

struct Image {
  int64_t height, width;    // of the input
  int64_t rows, columns;    // in units
  int64_t tile_rows, tile_columns, down, across;  // `down` x `across` tiles
};

SALON_INLINE Image image_of(const Plan& p, int64_t index) {
  const int stride = p.a->stride;
  Image i;
  i.height = p.a->grids[2 * index];
  i.width = p.a->grids[2 * index + 1];
  i.rows = stride == 2 ? (i.height + p.a->symmetric) / 2 : i.height;
  i.columns = stride == 2 ? (i.width + p.a->symmetric) / 2 : i.width;
  i.across = most(1, ceil_div(i.columns, kTileColumns));
  i.tile_columns = ceil_div(i.columns, i.across);
  const int64_t row_bytes = (i.tile_columns * stride + 2) * p.lines * kLine;
  int64_t fit = most(1, (kScratchBytes / row_bytes - 2) / stride);
  if (p.a->w->dtype == Dtype::f32) {
    const int64_t enough = ceil_div(kEnoughPixels, i.tile_columns);
    fit = most(fit, least(enough, (kWideScratchBytes / row_bytes - 2) / stride));
  }
  i.down = ceil_div(i.rows, least(fit, p.target_rows));
  i.tile_rows = i.down ? ceil_div(i.rows, i.down) : 1;
  i.down = ceil_div(i.rows, i.tile_rows);
  return i;
}

// A tile's input. Pixel (row, column) of line l: data + l * line_stride + (row * pitch + column) * Product::pixel_stride,
// which is 64 in scratch, and the distance of rows where the input is read as it lies.
struct Tile {
  char* data;
  int64_t pitch, plane, line_stride;  // plane: columns from an even column to the odd one beside it (stride 2)
};

// ---- scratch ------------------------------------------------------------------------------------------------------

SALON_INLINE void copy_line(char* to, const float* from, int64_t n) {
  float* o = reinterpret_cast<float*>(to);
  for (int i = 0; i < kSteps; i += kLanes, n -= kLanes)
    store(o + i, n >= kLanes ? load(from + i) : n > 0 ? load(from + i, int(n)) : set1(0));
}
#if defined(__AVX512BF16__)
SALON_INLINE void copy_line(char* to, const uint16_t* from, int64_t n) {
  const __mmask32 mask = n >= 32 ? ~0u : (1u << n) - 1;
  _mm512_storeu_si512(to, _mm512_maskz_loadu_epi16(mask, from));
}
#endif

// Fills a pixel that lies outside the image, in column `x` of source row `from`.
template <class T> SALON_INLINE void fill_border(const ConvArgs& a, char* to, const View& view, int64_t from,
                                                 int64_t width, int64_t x, int64_t channel, int64_t n) {
  if (a.wrap) copy_line(to, row_of<const T>(view, from + (x + width) % width) + channel, n);
  else memset(to, 0, kLine);
}

// Fills `columns` columns from source column `x` on of one scratch row; source row `y`, both may lie outside the image.
template <class T>
void fill_row(const Plan& p, const Image& image, const View& view, int64_t first, int64_t y, int64_t x, int64_t columns,
              const Tile& tile, int64_t row) {
  constexpr int64_t kChannels = kLine / int64_t(sizeof(T));
  const int64_t stride = p.a->stride;
  if (p.a->wrap) y = (y + image.height) % image.height;
  const bool inside = y >= 0 && y < image.height;
  const int64_t source = first + (inside ? y * image.width : 0);
  const int64_t stop = inside ? least(columns, image.width - x) : 0;  // columns from `stop` on lie right of the image
  for (int64_t l = 0; l < p.lines; ++l) {
    const int64_t n = least(kChannels, view.cols - l * kChannels);
    for (int64_t odd = 0; odd < stride; ++odd) {
      char* to = tile.data + l * tile.line_stride + (row * tile.pitch + odd * tile.plane) * kLine;
      int64_t c = odd;
      for (; c < columns && c < -x; c += stride, to += kLine)
        fill_border<T>(*p.a, to, view, source, image.width, x + c, l * kChannels, n);
      const T* from = row_of<const T>(view, inside ? source + x + c : first) + l * kChannels;
      for (; c < stop; c += stride, to += kLine, from += stride * view.stride) copy_line(to, from, n);
      for (; c < columns; c += stride, to += kLine)
        fill_border<T>(*p.a, to, view, source, image.width, x + c, l * kChannels, n);
    }
  }
}

// ---- a task -------------------------------------------------------------------------------------------------------

struct Work {
  const Plan* plan;
  Image image;
  Tile tile;
  Product product;
  Finish finish;
  int64_t row, column, rows, columns;  // the tile's units
  int64_t out_first;                   // the image's first output row
  int64_t phase;
  float* sums;                         // float32: of the tile's pixels, kPanel apart
};

SALON_INLINE Place place_of(const Work& k, int64_t row, int64_t column, int64_t group) {
  const int64_t scale = k.plan->phases == 4 ? 2 : 1;
  const int64_t y = (k.row + row) * scale + k.phase / 2, x = (k.column + column) * scale + k.phase % 2;
  const int64_t left = k.plan->a->w->n - group * kGroup;
  return {k.out_first + y * k.image.columns * scale + x, scale, group * kGroup, int(least(left, kGroup))};
}
SALON_INLINE int64_t pixel_at(const Work& k, int64_t row, int64_t column) {
  return (row * k.plan->a->stride * k.tile.pitch + column) * k.product.pixel_stride;
}
template <class T> SALON_INLINE const T* weights_of(const Work& k, int64_t group) {
  const int64_t column = group * kGroup, taps = k.product.count;
  const int64_t panel = column / kPanel * k.plan->phases + k.phase;
  return static_cast<const T*>(k.plan->weights) + panel * taps * k.product.tap_weights +
         column % kPanel * (sizeof(T) == 2 ? 2 : 1);
}

// In float32: all blocks of the tile take one part of the sum, then the next.
void run_group_parts(const Work& k, int64_t group) {
  const Product& product = k.product;
  const float* weights = weights_of<float>(k, group);
  const BlockPart* blocks = parts_of(k.plan->a->w->n - group * kGroup > kLanes ? 2 : 1);
  const int64_t pieces = ceil_div(k.columns, kBlock), lines = product.count * product.lines;
  const int64_t parts = ceil_div(lines, kPartLines);
  for (int64_t i = 0; i < parts; ++i) {
    const int64_t first = i * lines / parts;
    const Part part{int(first / product.lines), first % product.lines, (i + 1) * lines / parts - first, i == 0};
    float* buffer = k.sums;
    for (int64_t row = 0; row < k.rows; ++row) {
      for (int64_t piece = 0; piece < pieces; ++piece) {
        const int64_t begin = piece * k.columns / pieces, pixels = (piece + 1) * k.columns / pieces - begin;
        blocks[pixels - 1](product, part, k.tile.data + pixel_at(k, row, begin), weights, buffer);
        if (i + 1 == parts) k.finish(*k.plan->a, buffer, int(pixels), place_of(k, row, begin, group));
        buffer += pixels * kPanel;
      }
    }
  }
}

template <class T> void run_group(const Work& k, int64_t group) {
  alignas(64) float buffer[kBlock * kPanel];
  const T* weights = weights_of<T>(k, group);
  const Block<T>* blocks = blocks_of<T>(k.plan->a->w->n - group * kGroup > kLanes ? 2 : 1);
  const int64_t pieces = ceil_div(k.columns, kBlock);
  for (int64_t row = 0; row < k.rows; ++row) {
    for (int64_t i = 0; i < pieces; ++i) {  // of nearly equal width
      const int64_t begin = i * k.columns / pieces, pixels = (i + 1) * k.columns / pieces - begin;
      blocks[pixels - 1](k.product, k.tile.data + pixel_at(k, row, begin), weights, buffer);
      k.finish(*k.plan->a, buffer, int(pixels), place_of(k, row, begin, group));
    }
  }
}

#if defined(SALON_AMX)
// A tile's 16 pixels lie in one row. In the last of a row some may lie past its end: their sums are never stored.
void run_group_tiles(const Work& k, int64_t group) {
  alignas(64) float buffer[32 * kPanel];
  const uint16_t* weights = weights_of<uint16_t>(k, group);
  const bool narrow = k.plan->a->w->n - group * kGroup <= 16;
  const int64_t pieces = ceil_div(k.columns, 16), count = k.rows * pieces;
  for (int64_t i = 0; i < count; i += 2) {
    const bool two = i + 1 < count;
    const int64_t j = two ? i + 1 : i;
    const char* x0 = k.tile.data + pixel_at(k, i / pieces, i % pieces * 16);
    const char* x1 = k.tile.data + pixel_at(k, j / pieces, j % pieces * 16);
    if (two && narrow) block_tiles<2, 1>(k.product, x0, x1, weights, buffer);
    else if (two) block_tiles<2, 2>(k.product, x0, x1, weights, buffer);
    else if (narrow) block_tiles<1, 1>(k.product, x0, x1, weights, buffer);
    else block_tiles<1, 2>(k.product, x0, x1, weights, buffer);
    for (int64_t m = i; m <= j; ++m) {
      const int64_t begin = m % pieces * 16;
      k.finish(*k.plan->a, buffer + (m - i) * 16 * kPanel, int(least(16, k.columns - begin)),
               place_of(k, m / pieces, begin, group));
    }
  }
}
#endif

template <class T> void copy_tile(Work& k, int64_t in_first) {
  const Plan& p = *k.plan;
  const int stride = p.a->stride, reach = p.phases == 4 ? 3 : p.side;  // rows and columns that one unit's taps span
  const int64_t in_rows = (k.rows - 1) * stride + reach, in_columns = (k.columns - 1) * stride + reach;
  k.tile.plane = stride == 2 ? (in_columns + 1) / 2 : 0;
  k.tile.pitch = stride == 2 ? 2 * k.tile.plane : in_columns;
  k.tile.line_stride = in_rows * k.tile.pitch * kLine;
  // 16 more pixels: what an AMX tile may read past the last row's end.
  const int64_t bytes = p.lines * k.tile.line_stride + 16 * kLine;
  const int64_t sums = sizeof(T) == 4 ? k.rows * k.columns * kPanel * int64_t(sizeof(float)) : 0;
  k.tile.data = static_cast<char*>(thread_scratch(size_t(bytes + sums)));
  k.sums = reinterpret_cast<float*>(k.tile.data + bytes);
  for (int64_t r = 0; r < in_rows; ++r)
    fill_row<T>(p, k.image, p.a->x, in_first, k.row * stride - p.pad + r, k.column * stride - p.pad, in_columns, k.tile, r);
  k.product.pixel_stride = kLine;
}

template <class T> void run_tile(Work& k, int64_t in_first, int64_t part) {
  const Plan& p = *k.plan;
  const Packed& w = *p.a->w;
  const int stride = p.a->stride;
  Product& product = k.product;
#if defined(SALON_AMX)
  // The pixels of a 1x1 convolution may be read where they lie, if whole tiles of pixels and channels are all there is.
  if (sizeof(T) == 2 && p.side == 1 && k.columns % 16 == 0 && w.k == w.kp) {
    product.pixel_stride = p.a->x.stride * int64_t(sizeof(T));
    k.tile = {reinterpret_cast<char*>(row_of<T>(p.a->x, in_first + k.row * k.image.width + k.column)), k.image.width, 0, kLine};
  } else {
    copy_tile<T>(k, in_first);
  }
#else
  copy_tile<T>(k, in_first);
#endif

  product.count = p.side * p.side;
  product.lines = p.lines;
  product.line_stride = k.tile.line_stride;
  product.tap_weights = w.kp * kPanel;
  constexpr int64_t kElements = sizeof(T) == 2 ? 2 : 1;
  product.last = int(ceil_div(w.k - (p.lines - 1) * kSteps * kElements, kElements));
#if defined(SALON_AMX)
  if constexpr (sizeof(T) == 2) tiles_configure();  // not before the scratch: nothing would release them if that throws
#endif
  for (k.phase = 0; k.phase < p.phases; ++k.phase) {
    for (int t = 0; t < product.count; ++t) {
      const int64_t y = t / p.side + k.phase / 2, x = t % p.side + k.phase % 2;
      product.taps[t] = (y * k.tile.pitch + (stride == 2 ? x / 2 + x % 2 * k.tile.plane : x)) * kLine;
    }
    for (int64_t group = part * p.groups / p.parts; group < (part + 1) * p.groups / p.parts; ++group) {
#if defined(SALON_AMX)
      if constexpr (sizeof(T) == 2) run_group_tiles(k, group);
      else run_group_parts(k, group);
#else
      if constexpr (sizeof(T) == 4) run_group_parts(k, group);
      else run_group<T>(k, group);
#endif
    }
  }
#if defined(SALON_AMX)
  if constexpr (sizeof(T) == 2) tiles_release();
#endif
}

void run_task(void* context, int64_t task) {
  const Plan& p = *static_cast<const Plan*>(context);
  const ConvArgs& a = *p.a;
  const int64_t part = task % p.parts;
  int64_t left = task / p.parts, index = 0, in_first = 0;
  Work k;
  k.plan = &p;
  k.out_first = 0;
  for (;; ++index) {
    k.image = image_of(p, index);
    if (left < k.image.down * k.image.across) break;
    left -= k.image.down * k.image.across;
    in_first += k.image.height * k.image.width;
    k.out_first += k.image.rows * k.image.columns * p.phases;
  }
  k.row = left / k.image.across * k.image.tile_rows;
  k.column = left % k.image.across * k.image.tile_columns;
  k.rows = least(k.image.tile_rows, k.image.rows - k.row);
  k.columns = least(k.image.tile_columns, k.image.columns - k.column);
  k.finish = choose_finish(a);
#if defined(__AVX512BF16__)
  if (a.w->dtype == Dtype::bf16) {
    run_tile<uint16_t>(k, in_first, part);
    return;
  }
#endif
  run_tile<float>(k, in_first, part);
}

}  // namespace

void conv2d(const ConvArgs& args) {
  const Packed& w = *args.w;
  if (!args.out.rows || !w.n) return;
  Plan p;
  p.a = &args;
  p.weights = args.upsample == 2 ? args.parities : w.data;
  p.phases = args.upsample == 2 ? 4 : 1;
  p.side = args.upsample == 2 ? 2 : w.taps == 9 ? 3 : 1;
  p.pad = w.taps == 9 && (args.stride == 1 || args.symmetric) ? 1 : 0;
  p.lines = ceil_div(w.k * bytes_of(w.dtype), kLine);
  p.groups = ceil_div(w.n, kGroup);

  int64_t rows = 0, tasks = 0;
  for (int64_t i = 0; i < args.images; ++i) rows += args.grids[2 * i] / args.stride;
  const int64_t wanted = args.threads > 1 ? kTasksPerThread * args.threads : 1;
  p.target_rows = most(1, rows / wanted);
  for (int64_t i = 0; i < args.images; ++i) {
    const Image image = image_of(p, i);
    tasks += image.down * image.across;
  }
  p.parts = least(p.groups, most(1, wanted / 2 / most(1, tasks)));
  parallel(tasks * p.parts, run_task, &p, args.threads);
}

}  // namespace salon::SALON_ISA_NS
