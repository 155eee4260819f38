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
  float* scale = nullptr;               // i8: of each packed column
  Rounding* roundings = nullptr;        // i8: of each panel
};

// The rows of one panel: a packed column without one is padding.
struct PanelRows {
  const void* data[kPanel];
  Dtype dtype[kPanel];
  bool all = true, same = true;  // whether no column is padding; whether those that are none have one dtype

  PanelRows(const Job& job, std::int64_t p) {
    const std::int64_t* column_row = &job.column_row[std::size_t(p * kPanel)];
    const std::int64_t first = column_row[0];  // never padding: it is what the panel is for
    for (std::int64_t c = 0; c < kPanel; ++c) {
      const std::int64_t row = column_row[c];
      data[c] = row < 0 ? nullptr : job.row_data[std::size_t(row)];
      dtype[c] = job.row_dtype[std::size_t(row < 0 ? first : row)];
      all = all && row >= 0;
      same = same && dtype[c] == dtype[0];
    }
  }
};

// Column by column: for panels whose rows are of several dtypes, or some of whose columns are padding.
template <class S, class D, int pair> void pack_column(const Packed& w, const S* row, D* panel, std::int64_t column) {
  for (std::int64_t tap = 0; tap < w.taps; ++tap) {
    D* out = panel + tap * w.kp * kPanel + column * pair;
    const S* in = row + tap;
    for (std::int64_t i = 0; i < w.k; ++i)
      convert(in[i * w.taps], out[(i / pair) * kPanel * pair + i % pair]);
  }
}

// In the order of the panel: writes whole lines, reads 32 rows side by side. Bf16 elements of a pair of inputs stand
// side by side (`pair` = 2).
template <class S, class D, int pair> void pack_whole(const Packed& w, const void* const* data, D* panel) {
  const S* rows[kPanel];
  for (std::int64_t c = 0; c < kPanel; ++c) rows[c] = static_cast<const S*>(data[c]);
  const std::int64_t line = kPanel * pair, whole = w.k / pair;
  for (std::int64_t i = 0; i < whole; ++i)
    for (std::int64_t tap = 0; tap < w.taps; ++tap) {
      D* out = panel + tap * w.kp * kPanel + i * line;
      const std::int64_t at = i * pair * w.taps + tap;
      for (std::int64_t c = 0; c < kPanel; ++c)
        if (sizeof(S) * pair == 4 && sizeof(D) * pair == 4 && w.taps == 1) std::memcpy(out + c * pair, rows[c] + at, 4);  // as it is
        else for (int j = 0; j < pair; ++j) convert(rows[c][at + j * w.taps], out[c * pair + j]);
    }
  for (std::int64_t tap = 0; tap < w.taps; ++tap) {  // an odd input, and padding
    D* out = panel + tap * w.kp * kPanel + whole * line;
    std::memset(static_cast<void*>(out), 0, std::size_t((w.kp - whole * pair) * kPanel) * sizeof(D));
    if (whole * pair < w.k)
      for (std::int64_t c = 0; c < kPanel; ++c) convert(rows[c][whole * pair * w.taps + tap], out[c * pair]);
  }
}

template <class D, int pair> void pack_panel(const Job& job, std::int64_t p) {
  const Packed& w = *job.w;
  const PanelRows rows(job, p);
  D* panel = static_cast<D*>(const_cast<void*>(w.data)) + p * w.taps * w.kp * kPanel;
  if (rows.all && rows.same) {
    if (rows.dtype[0] == Dtype::bf16) pack_whole<std::uint16_t, D, pair>(w, rows.data, panel);
    else pack_whole<float, D, pair>(w, rows.data, panel);
    return;
  }
  std::memset(static_cast<void*>(panel), 0, std::size_t(w.taps * w.kp * kPanel) * sizeof(D));
  for (std::int64_t c = 0; c < kPanel; ++c) {
    if (!rows.data[c]) continue;
    if (rows.dtype[c] == Dtype::bf16) pack_column<std::uint16_t, D, pair>(w, static_cast<const std::uint16_t*>(rows.data[c]), panel, c);
    else pack_column<float, D, pair>(w, static_cast<const float*>(rows.data[c]), panel, c);
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
    else if (j.w->dtype == Dtype::bf16) pack_panel<std::uint16_t, 2>(j, p);
    else pack_panel<float, 1>(j, p);
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
