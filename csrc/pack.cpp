#include "pack.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>

#include "bf16.h"
#include "pack_int8.h"
#include "pool.h"

namespace salon {
namespace {

void convert(std::uint16_t v, std::uint16_t& o) { o = v; }
void convert(std::uint16_t v, float& o) { o = bf16_to_f32(v); }
void convert(float v, std::uint16_t& o) { o = f32_to_bf16(v); }
void convert(float v, float& o) { o = v; }

struct Job {
  const Packed* w;
  std::vector<const void*> row_data;    // start of each logical row
  std::vector<Dtype> row_dtype;
  std::vector<std::int64_t> column_row; // logical row of each packed column, -1: padding
  bool pairs = false;                   // bf16 from bf16, one tap, an even depth
  float* scale = nullptr;               // i8: of each packed column
  Rounding* roundings = nullptr;        // i8: of each panel
};

// Panel p: gathers its 32 rows. Bf16 elements of a pair of inputs stand side by side (`pair` = 2).
template <class S, class D> void pack_row(const Packed& w, const S* row, D* panel, std::int64_t column, std::int64_t pair) {
  for (std::int64_t tap = 0; tap < w.taps; ++tap) {
    D* out = panel + tap * w.kp * kPanel + column * pair;
    const S* in = row + tap;
    for (std::int64_t i = 0; i < w.k; ++i)
      convert(in[i * w.taps], out[(i / pair) * kPanel * pair + i % pair]);
  }
}

// The common case, bf16 kept unchanged, in the order of the panel: writes whole lines, reads 32 rows side by side.
void pack_pairs(const Job& job, std::int64_t p) {
  const Packed& w = *job.w;
  std::uint32_t* out = static_cast<std::uint32_t*>(const_cast<void*>(w.data)) + p * w.kp * kPanel / 2;
  const std::uint16_t* rows[kPanel];
  for (std::int64_t c = 0; c < kPanel; ++c) {
    const std::int64_t row = job.column_row[std::size_t(p * kPanel + c)];
    rows[c] = row < 0 ? nullptr : static_cast<const std::uint16_t*>(job.row_data[std::size_t(row)]);
  }
  for (std::int64_t i = 0; i < w.kp; i += 2, out += kPanel)
    for (std::int64_t c = 0; c < kPanel; ++c) {
      std::uint32_t pair = 0;
      if (rows[c] && i < w.k) std::memcpy(&pair, rows[c] + i, 4);
      out[c] = pair;
    }
}

template <class D> void pack_panel(const Job& job, std::int64_t p, std::int64_t pair) {
  const Packed& w = *job.w;
  D* panel = static_cast<D*>(const_cast<void*>(w.data)) + p * w.taps * w.kp * kPanel;
  std::memset(static_cast<void*>(panel), 0, std::size_t(w.taps * w.kp * kPanel) * sizeof(D));
  for (std::int64_t c = 0; c < kPanel; ++c) {
    const std::int64_t row = job.column_row[std::size_t(p * kPanel + c)];
    if (row < 0) continue;
    const void* data = job.row_data[std::size_t(row)];
    if (job.row_dtype[std::size_t(row)] == Dtype::bf16) pack_row(w, static_cast<const std::uint16_t*>(data), panel, c, pair);
    else pack_row(w, static_cast<const float*>(data), panel, c, pair);
  }
}

// Int8: a scale for each column, by which its largest weight is 127.
void pack_rounded(const Job& job, std::int64_t p) {
  const Packed& w = *job.w;
  std::int8_t* panel = static_cast<std::int8_t*>(const_cast<void*>(w.data)) + p * w.kp * kPanel;
  std::memset(panel, 0, std::size_t(w.kp * kPanel));
  for (std::int64_t c = 0; c < kPanel; ++c) {
    const std::int64_t row = job.column_row[std::size_t(p * kPanel + c)];
    if (row < 0) continue;
    const void* data = job.row_data[std::size_t(row)];
    float& scale = job.scale[p * kPanel + c];
    if (job.row_dtype[std::size_t(row)] == Dtype::bf16)
      scale = pack_int8(static_cast<const std::uint16_t*>(data), w.k, panel, c, job.roundings[p]);
    else scale = pack_int8(static_cast<const float*>(data), w.k, panel, c, job.roundings[p]);
  }
}

std::shared_ptr<void> aligned(std::size_t bytes) {
  const std::size_t rounded = (bytes + 63) / 64 * 64;
  void* data = std::aligned_alloc(64, rounded ? rounded : 64);
  if (!data) throw std::bad_alloc();
  return std::shared_ptr<void>(data, std::free);
}

// Nearest 2x upsampling before a 3x3 convolution: output pixels of one parity see only 2 x 2 source pixels, because some
// of the nine taps fall on the same one. Parity 0 sees the source pixel before (tap 0) and its own (taps 1 and 2), parity 1
// its own (taps 0 and 1) and the next. Tap 4 (2 py + px) + 2 ty + tx is the sum of those for tap (ty, tx) of parity (py, px).
template <class D> void sum_taps(const Packed& w, D* out, std::int64_t panel) {
  const std::int64_t tap = w.kp * kPanel;
  const D* in = static_cast<const D*>(w.data) + panel * 9 * tap;
  out += panel * 16 * tap;
  for (int i = 0; i < 16; ++i, out += tap) {
    const int py = i / 8, px = i / 4 % 2, ty = i / 2 % 2, tx = i % 2;
    const int y0 = ty ? 1 + py : 0, y1 = ty ? 2 : py, x0 = tx ? 1 + px : 0, x1 = tx ? 2 : px;
    for (std::int64_t e = 0; e < tap; ++e) {
      float sum = 0, term;
      for (int y = y0; y <= y1; ++y)
        for (int x = x0; x <= x1; ++x) {
          convert(in[(y * 3 + x) * tap + e], term);
          sum += term;
        }
      convert(sum, out[e]);
    }
  }
}

}  // namespace

const void* PackedWeight::parities(int threads) {
  std::call_once(once_, [&] {
    std::shared_ptr<void> data = aligned(std::size_t(view.panels * 16 * view.kp * kPanel) * (view.dtype == Dtype::bf16 ? 2 : 4));
    struct Job { const Packed* w; void* out; } job{&view, data.get()};
    parallel(view.panels, [](void* context, std::int64_t panel) {
      const Job& j = *static_cast<Job*>(context);
      if (j.w->dtype == Dtype::bf16) sum_taps(*j.w, static_cast<std::uint16_t*>(j.out), panel);
      else sum_taps(*j.w, static_cast<float*>(j.out), panel);
    }, &job, threads);
    parities_ = data;
  });
  return parities_.get();
}

std::shared_ptr<PackedWeight> pack_weight(const std::vector<Source>& sources, std::int64_t k, std::int64_t taps,
                                          Dtype dtype, bool swiglu, int threads) {
  auto packed = std::make_shared<PackedWeight>();
  Packed& w = packed->view;
  w.dtype = dtype;
  w.k = k;
  w.kp = dtype == Dtype::f32 ? k : dtype == Dtype::bf16 ? (k + kDepth - 1) / kDepth * kDepth : (k + kQuad - 1) / kQuad * kQuad;
  w.taps = taps;
  w.swiglu = swiglu;
  Job job;
  job.w = &w;
  std::vector<float> bias;
  for (const Source& s : sources) {
    const std::size_t row_bytes = std::size_t(k * taps) * (s.dtype == Dtype::bf16 ? 2 : 4);
    for (std::int64_t r = 0; r < s.n; ++r) {
      job.row_data.push_back(static_cast<const char*>(s.data) + std::size_t(r) * row_bytes);
      job.row_dtype.push_back(s.dtype);
      bias.push_back(s.bias ? s.bias[r] : 0.0f);
    }
    w.n += s.n;
  }
  const std::int64_t half = kPanel / 2, width = w.n / 2;
  w.panels = swiglu ? (width + half - 1) / half : (w.n + kPanel - 1) / kPanel;
  job.column_row.assign(std::size_t(w.panels * kPanel), -1);
  packed->bias.assign(std::size_t(w.panels * kPanel), 0.0f);
  for (std::int64_t column = 0; column < w.panels * kPanel; ++column) {
    const std::int64_t p = column / kPanel, c = column % kPanel;
    const std::int64_t index = swiglu ? p * half + c % half : column;
    if (index >= (swiglu ? width : w.n)) continue;
    const std::int64_t row = swiglu && c >= half ? width + index : index;
    job.column_row[std::size_t(column)] = row;
    packed->bias[std::size_t(column)] = bias[std::size_t(row)];
  }
  job.pairs = dtype == Dtype::bf16 && taps == 1 && k % 2 == 0;
  for (const Dtype from : job.row_dtype) job.pairs = job.pairs && from == Dtype::bf16;
  packed->bytes = std::size_t(w.panels * taps * w.kp * kPanel) * (dtype == Dtype::f32 ? 4 : dtype == Dtype::bf16 ? 2 : 1);
  packed->data = aligned(packed->bytes);
  w.data = packed->data.get();
  w.bias = packed->bias.data();
  std::vector<Rounding> roundings;
  if (dtype == Dtype::i8) {
    packed->scale.assign(std::size_t(w.panels * kPanel), 0.0f);
    w.scale = job.scale = packed->scale.data();
    roundings.resize(std::size_t(w.panels));
    job.roundings = roundings.data();
  }
  parallel(w.panels, [](void* context, std::int64_t p) {
    const Job& j = *static_cast<Job*>(context);
    if (j.w->dtype == Dtype::i8) pack_rounded(j, p);
    else if (j.pairs) pack_pairs(j, p);
    else if (j.w->dtype == Dtype::bf16) pack_panel<std::uint16_t>(j, p, 2);
    else pack_panel<float>(j, p, 1);
  }, &job, threads);
  Rounding all;
  for (const Rounding& r : roundings) {
    all.changed += r.changed;
    all.whole += r.whole;
  }
  packed->error = all.whole == 0 ? 0 : std::sqrt(all.changed / all.whole);  // NaN: a weight is not finite
  return packed;
}

}  // namespace salon
