// Bindings of the dense ops: check, allocate, call. What each op does is documented in kernels/ops.py.
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <tuple>
#include <vector>

#include "../timestep_embedding.h"
#include "arrays.h"
#include "unlocked.h"

namespace salon {
namespace {

using Arrays = std::vector<py::array>;
using Int64Array = py::array_t<std::int64_t, py::array::c_style>;
using LowRankTerms = std::vector<std::tuple<std::int64_t, std::int64_t, LowRankPtr, double>>;  // first row, past-last row, factors, weight

View view_or_none(const OptionalTensor& t) { return t && *t ? (*t)->view : View{}; }

// A float32 or bf16-bits numpy array, contiguous, with exactly these dimensions.
Dtype want_array(const char* op, const char* argument, const py::array& a, std::vector<py::ssize_t> shape) {
  const bool bits = a.dtype().is(py::dtype::of<std::uint16_t>());
  if (!bits && !a.dtype().is(py::dtype::of<float>()))
    refuse(op, argument, py::str(a.dtype()).cast<std::string>(), "float32, or uint16 holding bfloat16 bits");
  bool same = a.ndim() == py::ssize_t(shape.size());
  for (std::size_t i = 0; same && i < shape.size(); ++i) same = a.shape(py::ssize_t(i)) == shape[i];
  if (!same || !(a.flags() & py::array::c_style)) refuse(op, argument, "another shape or layout", "a C-contiguous array of the stated shape");
  return bits ? Dtype::bf16 : Dtype::f32;
}

TensorPtr array(const Backend& b, const py::array& values, const std::string& dtype) {
  if (values.ndim() != 2) refuse("array", "values", std::to_string(values.ndim()) + " dimensions", "2 dimensions");
  const Dtype from = want_array("array", "values", values, {values.shape(0), values.shape(1)});
  TensorPtr out = new_tensor(values.shape(0), values.shape(1), parse_dtype(b, dtype));
  const View source{const_cast<void*>(values.data()), out->view.rows, out->view.cols, out->view.cols, from};
  const Unlocked unlocked;
  b.table->cast(CastArgs{source, out->view, Act::none, b.threads});
  return out;
}

TensorPtr zeros(const Backend& b, std::int64_t rows, std::int64_t cols, const std::string& dtype) {
  TensorPtr out = new_tensor(rows, cols, parse_dtype(b, dtype));
  std::memset(out->view.data, 0, std::size_t(rows * cols) * dtype_bytes(out->view.dtype));
  return out;
}

TensorPtr cast(const Backend& b, const TensorPtr& x, const std::string& dtype, const std::string& activation) {
  const Act act = parse_activation(activation);
  if (!is_gate(act)) refuse("cast", "activation", activation, "none, silu, sigmoid or tanh");
  TensorPtr out = new_tensor(x->view.rows, x->view.cols, parse_dtype(b, dtype));
  const Unlocked unlocked;
  b.table->cast(CastArgs{x->view, out->view, act, b.threads});
  return out;
}

TensorPtr concat(const Backend& b, const std::vector<TensorPtr>& parts) {
  if (parts.empty()) refuse("concat", "parts", "none", "at least one");
  std::int64_t rows = 0;
  for (const TensorPtr& p : parts) {
    if (p->view.cols != parts[0]->view.cols || p->view.dtype != parts[0]->view.dtype)
      refuse("concat", "parts", shape_of(p->view), "the width and dtype of the first, " + shape_of(parts[0]->view));
    rows += p->view.rows;
  }
  TensorPtr out = new_tensor(rows, parts[0]->view.cols, parts[0]->view.dtype);
  const Unlocked unlocked;
  std::int64_t row = 0;
  for (const TensorPtr& p : parts) {
    View target = out->view;
    target.data = static_cast<char*>(target.data) + std::size_t(row * target.stride) * dtype_bytes(target.dtype);
    target.rows = p->view.rows;
    b.table->cast(CastArgs{p->view, target, Act::none, b.threads});
    row += p->view.rows;
  }
  return out;
}

// The row of a float32 gate [S, width] that each of `rows` rows has.
const std::int32_t* want_owners(const char* op, const View& gate, const std::optional<Int32Array>& row_owners, std::int64_t rows,
                                std::int64_t width) {
  want_dtype(op, "gate", gate, Dtype::f32);
  if (gate.cols != width) refuse(op, "gate", shape_of(gate), "[S, " + std::to_string(width) + "] float32");
  if (!row_owners) refuse(op, "segments", "None", "the segments that choose gate's rows");
  want_length(op, "segments", row_owners->size(), rows);
  const std::int32_t* owners = row_owners->data();
  for (std::int64_t r = 0; r < rows; ++r)
    if (owners[r] < 0 || owners[r] >= gate.rows) refuse(op, "segments", "owner " + std::to_string(owners[r]), "a row of gate " + shape_of(gate));
  return owners;
}

void add(const Backend& b, const TensorPtr& x, const TensorPtr& y, const std::optional<Int32Array>& offsets,
         const std::optional<Int32Array>& only, const OptionalTensor& gate, const std::optional<Int32Array>& row_owners) {
  want_dtype("add", "x", x->view, Dtype::f32);
  want_shape("add", "y", y->view, x->view.rows, x->view.cols);
  std::vector<std::int32_t> ranges;
  const std::int64_t rows = x->view.rows;
  if (only) {
    if (!offsets) refuse("add", "only", "without segments", "segments that it indexes");
    want_offsets("add", *offsets, rows);
    std::vector<bool> seen(std::size_t(offsets->size() - 1), false);
    for (py::ssize_t i = 0; i < only->size(); ++i) {
      const std::int32_t j = only->data()[i];
      if (j < 0 || j >= offsets->size() - 1 || seen[std::size_t(j)]) refuse("add", "only", std::to_string(j), "each a different segment index");
      seen[std::size_t(j)] = true;
      ranges.push_back(offsets->data()[j]);
      ranges.push_back(offsets->data()[j + 1]);
    }
  } else {
    constexpr std::int64_t kRows = 64;
    for (std::int64_t r = 0; r < rows; r += kRows) {
      ranges.push_back(std::int32_t(r));
      ranges.push_back(std::int32_t(std::min(rows, r + kRows)));
    }
  }
  AddArgs args{x->view, y->view, ranges.data(), std::int64_t(ranges.size() / 2), b.threads, {}, nullptr};
  if (gate && *gate) {
    args.gate = (*gate)->view;
    args.row_owner = want_owners("add", args.gate, row_owners, rows, x->view.cols);
  }
  const Unlocked unlocked;
  b.table->add(args);
}

TensorPtr gated(const Backend& b, const TensorPtr& gate, const TensorPtr& value, const std::string& activation, const OptionalTensor& out) {
  const char* op = "gated";
  const Act act = parse_activation(activation);
  if (!is_gate(act)) refuse(op, "activation", activation, "none, silu, sigmoid or tanh");
  want_shape(op, "value", value->view, gate->view.rows, gate->view.cols);
  TensorPtr target = out && *out ? *out : new_tensor(gate->view.rows, gate->view.cols, b.compute);
  want_shape(op, "out", target->view, gate->view.rows, gate->view.cols);
  const Unlocked unlocked;
  b.table->gated(GatedArgs{gate->view, value->view, target->view, act, b.threads});
  return target;
}

WeightPtr pack_linear(const Backend& b, const Arrays& weights, const std::vector<std::optional<FloatArray>>& biases, bool swiglu,
                      bool int8) {
  if (weights.empty()) refuse("pack_linear", "weights", "none", "at least one [N, K]");
  want_length("pack_linear", "biases", py::ssize_t(biases.size()), std::int64_t(weights.size()));
  if (weights[0].ndim() != 2) refuse("pack_linear", "weights", std::to_string(weights[0].ndim()) + " dimensions", "2");
  const std::int64_t k = weights[0].shape(1);
  std::vector<Source> sources;
  std::int64_t n = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i].ndim() != 2) refuse("pack_linear", "weights", std::to_string(weights[i].ndim()) + " dimensions", "2");
    const Dtype dtype = want_array("pack_linear", "weights", weights[i], {weights[i].shape(0), py::ssize_t(k)});
    if (biases[i]) want_length("pack_linear", "biases", biases[i]->size(), weights[i].shape(0));
    sources.push_back({weights[i].data(), dtype, weights[i].shape(0), biases[i] ? biases[i]->data() : nullptr});
    n += weights[i].shape(0);
  }
  if (k < 1 || n < 1) refuse("pack_linear", "weights", "an empty matrix", "at least one row and column");
  if (swiglu && n % 2) refuse("pack_linear", "weights", std::to_string(n) + " rows", "an even number for swiglu");
  const Unlocked unlocked;
  return pack_weight(sources, k, 1, int8 ? Dtype::i8 : b.compute, swiglu, b.threads);
}

TensorPtr linear(const Backend& b, const TensorPtr& x, const WeightPtr& w, const std::string& activation, const OptionalTensor& gate,
                 const OptionalTensor& residual, const std::optional<Int32Array>& row_owners, const OptionalTensor& out,
                 const std::string& dtype, const LowRankTerms& low_rank) {
  const char* op = "linear";
  const Act act = parse_activation(activation);
  const std::int64_t rows = x->view.rows;
  if (w->view.taps != 1) refuse(op, "weight", "a convolution", "a linear weight");
  if (x->view.cols != w->view.k) refuse(op, "x", shape_of(x->view), "[T, " + std::to_string(w->view.k) + "]");
  want_dtype(op, "x", x->view, w->view.dtype == Dtype::i8 ? b.compute : w->view.dtype);
  if (act == Act::sigmoid || act == Act::tanh) refuse(op, "activation", activation, "another: this is one of cast and gated");
  if (is_glu(act) != w->view.swiglu)
    refuse(op, "activation", activation, w->view.swiglu ? "swiglu, geglu or geglu_tanh, as packed" : "another: the weight was not packed for swiglu");
  const std::int64_t width = is_glu(act) ? w->view.n / 2 : w->view.n;
  TensorPtr target;
  LinearArgs args{x->view, &w->view, {}, act, false, {}, nullptr, b.threads};
  if (residual && *residual) {
    if (act != Act::none) refuse(op, "activation", activation, "none together with residual");
    if (out && *out) refuse(op, "out", "an array", "None together with residual");
    target = *residual;
    want_shape(op, "residual", target->view, rows, width);
    want_dtype(op, "residual", target->view, Dtype::f32);
    args.residual = true;
    if (gate && *gate) {
      args.gate = (*gate)->view;
      args.row_owner = want_owners(op, args.gate, row_owners, rows, width);
    }
  } else {
    if (gate && *gate) refuse(op, "gate", "an array", "None without residual");
    if (out && *out) {
      target = *out;
      want_shape(op, "out", target->view, rows, width);
    } else {
      target = new_tensor(rows, width, parse_dtype(b, dtype));
    }
  }
  args.out = target->view;
  std::vector<LowRankTerm> terms;
  std::vector<TensorPtr> hidden;
  for (const auto& [begin, end, factors, factor] : low_rank) {
    if (!factors) refuse(op, "low_rank", "None", "the result of pack_low_rank");
    const Packed& down = factors->down->view;
    const std::string at = std::to_string(begin) + " to " + std::to_string(end);
    if (begin < 0 || begin > end || end > rows) refuse(op, "low_rank", "rows " + at, "rows within 0 to " + std::to_string(rows));
    if (down.k != w->view.k || factors->n != w->view.n || factors->swiglu != w->view.swiglu)
      refuse(op, "low_rank", "factors of [" + std::to_string(factors->n) + ", " + std::to_string(down.k) + "]",
             "[" + std::to_string(w->view.n) + ", " + std::to_string(w->view.k) + "], packed as the weight is");
    if (!std::isfinite(factor)) refuse(op, "low_rank", "weight " + std::to_string(factor), "a finite number");
    if (begin == end || factor == 0) continue;
    hidden.push_back(new_tensor(end - begin, down.n, Dtype::f32));
    terms.push_back({begin, end, &down, factors->up.data(), factors->place.data(), factors->first.data(), factors->last.data(),
                     hidden.back()->view, nearest(factor)});
  }
  args.terms = terms.data();
  args.num_terms = std::int64_t(terms.size());
  CallMemory memory;
  args.memory = &memory;
  const Unlocked unlocked;
  b.table->linear(args);
  return target;
}

LowRankPtr pack_low_rank(const Backend& b, const Arrays& down, const FloatArray& up, const Int64Array& place, const Int32Array& first,
                         const Int32Array& last, std::int64_t n, bool swiglu) {
  const char* op = "pack_low_rank";
  auto made = std::make_shared<LowRank>();
  made->down = pack_linear(b, down, std::vector<std::optional<FloatArray>>(down.size()), false, false);
  made->n = n;
  made->swiglu = swiglu;
  const std::int64_t half = kPanel / 2, panels = swiglu ? (n / 2 + half - 1) / half : (n + kPanel - 1) / kPanel;
  want_length(op, "place", place.size(), panels);
  want_length(op, "first", first.size(), panels);
  want_length(op, "last", last.size(), panels);
  for (std::int64_t p = 0; p < panels; ++p) {
    const std::int64_t from = first.data()[p], to = last.data()[p], at = place.data()[p];
    if (from < 0 || from > to || to > made->down->view.n || at < 0 || at + (to - from) * kPanel > up.size())
      refuse(op, "first, last", "inputs " + std::to_string(from) + " to " + std::to_string(to), "inputs that `up` holds");
  }
  made->up.assign(up.data(), up.data() + up.size());
  made->place.assign(place.data(), place.data() + panels);
  made->first.assign(first.data(), first.data() + panels);
  made->last.assign(last.data(), last.data() + panels);
  return made;
}

TensorPtr modulate(const Backend& b, const TensorPtr& x, const OptionalTensor& shift, const TensorPtr& scale, const Int32Array& offsets,
                   const Int32Array& owners, const std::string& kind, double eps, const OptionalTensor& weight) {
  const char* op = "modulate";
  const View added = view_or_none(shift), factor = view_or_none(weight);
  want_dtype(op, "x", x->view, Dtype::f32);
  want_dtype(op, "scale", scale->view, Dtype::f32);
  want_shape(op, "scale", scale->view, added.data ? added.rows : scale->view.rows, x->view.cols);
  if (added.data) {
    want_dtype(op, "shift", added, Dtype::f32);
    want_shape(op, "shift", added, added.rows, x->view.cols);
  }
  if (factor.data) {
    want_shape(op, "weight", factor, 1, x->view.cols);
    want_dtype(op, "weight", factor, Dtype::f32);
  }
  want_finite(op, "eps", eps);
  const SegmentView segments = want_segments(op, offsets, owners, x->view.rows, scale->view.rows);
  TensorPtr out = new_tensor(x->view.rows, x->view.cols, b.compute);
  const ModulateArgs args{x->view, out->view, added, scale->view, segments, parse_norm(kind), nearest(eps), b.threads,
                          static_cast<const float*>(factor.data)};
  const Unlocked unlocked;
  b.table->modulate(args);
  return out;
}

TensorPtr norm(const Backend& b, const TensorPtr& x, const TensorPtr& weight, const OptionalTensor& bias, const std::string& kind,
               double eps, const std::string& dtype) {
  const char* op = "norm";
  want_shape(op, "weight", weight->view, 1, x->view.cols);
  want_dtype(op, "weight", weight->view, Dtype::f32);
  const View shift = view_or_none(bias);
  if (shift.data) {
    want_shape(op, "bias", shift, 1, x->view.cols);
    want_dtype(op, "bias", shift, Dtype::f32);
  }
  want_finite(op, "eps", eps);
  TensorPtr out = new_tensor(x->view.rows, x->view.cols, parse_dtype(b, dtype));
  const NormArgs args{x->view, out->view, static_cast<const float*>(weight->view.data), static_cast<const float*>(shift.data),
                      parse_norm(kind), nearest(eps), b.threads};
  const Unlocked unlocked;
  b.table->norm(args);
  return out;
}

// G, the heads of keys and values: as many as queries unless there are fewer.
std::int64_t want_groups(const char* op, std::int64_t heads, const std::optional<std::int64_t>& groups) {
  if (heads < 1) refuse(op, "heads", std::to_string(heads), "at least 1");
  if (!groups) return heads;
  if (*groups < 1 || heads % *groups) refuse(op, "kv_heads", std::to_string(*groups), "a divisor of the " + std::to_string(heads) + " heads");
  return *groups;
}

void qk_norm_rope(const Backend& b, const TensorPtr& qkv, std::int64_t heads, const OptionalTensor& q_weight, const OptionalTensor& k_weight,
                  const OptionalTensor& cos, const OptionalTensor& sin, double eps, const OptionalTensor& plain_q, const std::optional<std::int64_t>& groups) {
  const char* op = "qk_norm_rope";
  const std::int64_t kv_heads = want_groups(op, heads, groups), together = heads + 2 * kv_heads;
  if (qkv->view.cols % together) refuse(op, "qkv", shape_of(qkv->view) + " with " + std::to_string(heads) + " heads", "[T, (heads + 2 * kv_heads) * E]");
  want_dtype(op, "qkv", qkv->view, b.compute);
  want_finite(op, "eps", eps);
  const std::int64_t width = qkv->view.cols / together, rows = qkv->view.rows;
  QkNormRopeArgs args{qkv->view, view_or_none(plain_q), heads, width, nullptr, nullptr, view_or_none(cos), view_or_none(sin), nearest(eps), b.threads, kv_heads};
  const auto weight = [&](const char* name, const OptionalTensor& t) -> const float* {
    if (!t || !*t) return nullptr;
    want_shape(op, name, (*t)->view, 1, width);
    want_dtype(op, name, (*t)->view, Dtype::f32);
    return static_cast<const float*>((*t)->view.data);
  };
  args.q_weight = weight("q_weight", q_weight);
  args.k_weight = weight("k_weight", k_weight);
  if (!args.cos.data != !args.sin.data) refuse(op, "cos, sin", "one of them", "both or none");
  if (args.cos.data) {
    if (width % 2) refuse(op, "qkv", "an odd head width", "an even one for rotary embedding");
    want_shape(op, "cos", args.cos, rows, width / 2);
    want_shape(op, "sin", args.sin, rows, width / 2);
    want_dtype(op, "cos", args.cos, Dtype::f32);
    want_dtype(op, "sin", args.sin, Dtype::f32);
  }
  if (args.plain_q.data) {
    want_shape(op, "plain_q", args.plain_q, rows, heads * width);
    want_dtype(op, "plain_q", args.plain_q, b.compute);
  }
  const Unlocked unlocked;
  b.table->qk_norm_rope(args);
}

// Adapter terms as they come from Python: (keys, values, segments, offsets, rows, weights, queries, out).
struct Terms {
  std::vector<std::int32_t> start, index;
  Int32Array segments, offsets, rows;
  FloatArray weights;
};

void want_terms(const char* op, const py::tuple& t, const View& q, Dtype dtype, std::int64_t segments, Terms& terms, AttentionArgs& args) {
  args.term_keys = t[0].cast<TensorPtr>()->view;
  args.term_values = t[1].cast<TensorPtr>()->view;
  terms.segments = t[2].cast<Int32Array>();
  terms.offsets = t[3].cast<Int32Array>();
  terms.rows = t[4].cast<Int32Array>();
  terms.weights = t[5].cast<FloatArray>();
  args.term_q = view_or_none(t[6].cast<OptionalTensor>());
  args.term_out = view_or_none(t[7].cast<OptionalTensor>());
  const std::int64_t count = terms.segments.size();
  want_length(op, "adapters.offsets", terms.offsets.size(), count + 1);
  want_length(op, "adapters.weights", terms.weights.size(), count);
  if (args.term_keys.cols != q.cols) refuse(op, "adapters.keys", shape_of(args.term_keys), "[R, " + std::to_string(q.cols) + "]");
  want_shape(op, "adapters.values", args.term_values, args.term_keys.rows, q.cols);
  want_dtype(op, "adapters.keys", args.term_keys, dtype);
  want_dtype(op, "adapters.values", args.term_values, dtype);
  const std::int32_t* o = terms.offsets.data();
  if (o[0] != 0 || o[count] != terms.rows.size()) refuse(op, "adapters.offsets", "a range other than rows", "0 to " + std::to_string(terms.rows.size()));
  for (std::int64_t m = 0; m < count; ++m) {
    if (o[m + 1] < o[m]) refuse(op, "adapters.offsets", "a falling offset", "offsets that never fall");
    if (terms.segments.data()[m] < 0 || terms.segments.data()[m] >= segments)
      refuse(op, "adapters.segments", std::to_string(terms.segments.data()[m]), "0 to " + std::to_string(segments - 1));
  }
  for (py::ssize_t i = 0; i < terms.rows.size(); ++i)
    if (terms.rows.data()[i] < 0 || terms.rows.data()[i] >= args.term_keys.rows)
      refuse(op, "adapters.rows", std::to_string(terms.rows.data()[i]), "0 to " + std::to_string(args.term_keys.rows - 1));
  for (const auto& [name, view] : {std::pair{"adapters.queries", args.term_q}, std::pair{"adapters.out", args.term_out}}) {
    if (!view.data) continue;
    want_shape(op, name, view, q.rows, q.cols);
    want_dtype(op, name, view, dtype);
  }
  terms.start.assign(std::size_t(segments + 1), 0);
  for (std::int64_t m = 0; m < count; ++m) ++terms.start[std::size_t(terms.segments.data()[m] + 1)];
  for (std::int64_t j = 0; j < segments; ++j) terms.start[std::size_t(j + 1)] += terms.start[std::size_t(j)];
  terms.index.resize(std::size_t(count));
  std::vector<std::int32_t> next(terms.start);
  for (std::int64_t m = 0; m < count; ++m) terms.index[std::size_t(next[std::size_t(terms.segments.data()[m])]++)] = std::int32_t(m);
  args.term_start = terms.start.data();
  args.term_index = terms.index.data();
  args.term_offsets = o;
  args.term_rows = terms.rows.data();
  args.term_weights = terms.weights.data();
}

TensorPtr attention(const Backend& b, const TensorPtr& q, const TensorPtr& k, const TensorPtr& v, std::int64_t heads, std::int64_t samples,
                    const Int32Array& q_offsets, const Int32Array& q_owners, const Int32Array& kv_offsets, const Int32Array& kv_owners,
                    const std::optional<py::tuple>& adapters, const OptionalTensor& out, const std::optional<std::int64_t>& groups,
                    const std::optional<double>& scale, bool causal, const OptionalTensor& bias) {
  const char* op = "attention";
  if (heads < 1 || q->view.cols % heads || q->view.cols == 0) refuse(op, "q", shape_of(q->view) + " with " + std::to_string(heads) + " heads", "[T, heads * E]");
  const std::int64_t kv_heads = want_groups(op, heads, groups), kv_cols = q->view.cols / heads * kv_heads;
  if (adapters && kv_heads != heads) refuse(op, "kv_heads", std::to_string(kv_heads), std::to_string(heads) + ", since there are adapter terms");
  want_shape(op, "k", k->view, k->view.rows, kv_cols);
  want_shape(op, "v", v->view, k->view.rows, kv_cols);
  want_dtype(op, "q", q->view, b.compute);
  want_dtype(op, "k", k->view, b.compute);
  want_dtype(op, "v", v->view, b.compute);
  AttentionArgs args{};
  args.q = q->view;
  args.k = k->view;
  args.v = v->view;
  args.heads = heads;
  args.kv_heads = kv_heads;
  args.width = q->view.cols / heads;
  if (scale) {
    want_finite(op, "scale", *scale);
    args.scale = nearest(*scale);
  }
  args.causal = causal;
  args.bias = view_or_none(bias);
  if (args.bias.data) {
    if (args.bias.rows != heads || args.bias.cols % 2 != 1) refuse(op, "bias", shape_of(args.bias), "[" + std::to_string(heads) + ", 2R + 1]");
    want_dtype(op, "bias", args.bias, Dtype::f32);
  }
  args.samples = samples;
  CallMemory memory;
  args.memory = &memory;
  args.threads = b.threads;
  args.q_segments = want_segments(op, q_offsets, q_owners, q->view.rows, samples);
  args.kv_segments = want_segments(op, kv_offsets, kv_owners, k->view.rows, samples);
  std::vector<std::int32_t> start(std::size_t(samples + 1), 0), index(std::size_t(args.kv_segments.count));
  for (std::int64_t j = 0; j < args.kv_segments.count; ++j) ++start[std::size_t(args.kv_segments.owners[j] + 1)];
  for (std::int64_t s = 0; s < samples; ++s) start[std::size_t(s + 1)] += start[std::size_t(s)];
  std::vector<std::int32_t> next(start);
  for (std::int64_t j = 0; j < args.kv_segments.count; ++j) index[std::size_t(next[std::size_t(args.kv_segments.owners[j])]++)] = std::int32_t(j);
  std::vector<std::int32_t> before(std::size_t(samples), 0), places(std::size_t(args.q_segments.count));
  for (std::int64_t j = 0; j < args.q_segments.count; ++j) {
    std::int32_t& rows = before[std::size_t(args.q_segments.owners[j])];
    places[std::size_t(j)] = rows;
    rows += args.q_segments.offsets[j + 1] - args.q_segments.offsets[j];
  }
  args.q_places = places.data();
  args.kv_start = start.data();
  args.kv_index = index.data();
  Terms terms;
  if (adapters) want_terms(op, *adapters, q->view, b.compute, args.q_segments.count, terms, args);
  TensorPtr target = out && *out ? *out : new_tensor(q->view.rows, q->view.cols, b.compute);
  want_shape(op, "out", target->view, q->view.rows, q->view.cols);
  want_dtype(op, "out", target->view, b.compute);
  args.out = target->view;
  const Unlocked unlocked;
  b.table->attention(args);
  return target;
}

TensorPtr embed(const Backend& b, const std::vector<Int32Array>& indices, const std::vector<TensorPtr>& tables) {
  const char* op = "embed";
  if (tables.empty()) refuse(op, "tables", "none", "at least one");
  want_length(op, "indices", py::ssize_t(indices.size()), std::int64_t(tables.size()));
  const std::int64_t rows = indices[0].size(), cols = tables[0]->view.cols;
  std::vector<const std::int32_t*> data;
  std::vector<View> views;
  for (std::size_t t = 0; t < tables.size(); ++t) {
    want_length(op, "indices", indices[t].size(), rows);
    want_shape(op, "tables", tables[t]->view, tables[t]->view.rows, cols);
    for (std::int64_t r = 0; r < rows; ++r)
      if (indices[t].data()[r] < 0 || indices[t].data()[r] >= tables[t]->view.rows)
        refuse(op, "indices", std::to_string(indices[t].data()[r]), "0 to " + std::to_string(tables[t]->view.rows - 1));
    data.push_back(indices[t].data());
    views.push_back(tables[t]->view);
  }
  TensorPtr out = new_tensor(rows, cols, Dtype::f32);
  const Unlocked unlocked;
  b.table->embed(EmbedArgs{data.data(), views.data(), std::int64_t(views.size()), out->view, b.threads});
  return out;
}

TensorPtr embed_timesteps(const Backend& b, const FloatArray& timesteps, std::int64_t width, double max_period) {
  if (width < 2 || width % 2) refuse("timestep_embedding", "width", std::to_string(width), "an even number");
  want_finite("timestep_embedding", "max_period", max_period);
  const std::int64_t rows = timesteps.size();
  std::vector<float> values(std::size_t(rows * width));
  TensorPtr out = new_tensor(rows, width, b.compute);
  const Unlocked unlocked;
  timestep_embedding(timesteps.data(), rows, width, max_period, values.data());
  b.table->cast(CastArgs{View{values.data(), rows, width, width, Dtype::f32}, out->view, Act::none, 1});
  return out;
}

// Checks the terms of guidance against the segments and the rows of velocity.
void want_guidance(const char* op, const SolverArgs& args, py::ssize_t origins, py::ssize_t offsets, py::ssize_t rows, py::ssize_t weights) {
  const std::int64_t count = args.segments.count;
  want_length(op, "guidance.origins", origins, count);
  want_length(op, "guidance.offsets", offsets, count + 1);
  want_length(op, "guidance.weights", weights, rows);
  const std::int32_t* o = args.term_offsets;
  if (o[0] != 0 || o[count] != rows) refuse(op, "guidance.offsets", "a range other than rows", "0 to " + std::to_string(rows));
  for (std::int64_t j = 0; j < count; ++j)  // before any term is read
    if (o[j + 1] < o[j]) refuse(op, "guidance.offsets", "a falling offset", "offsets that never fall");
  const auto inside = [&](const char* name, std::int64_t row, std::int64_t length) {
    if (row < 0 || row + length > args.velocity.rows)
      refuse(op, name, std::to_string(row) + " for " + std::to_string(length) + " rows", "row ranges within velocity " + shape_of(args.velocity));
  };
  for (std::int64_t j = 0; j < count; ++j) {
    const std::int64_t length = args.segments.offsets[j + 1] - args.segments.offsets[j];
    inside("guidance.origins", args.origins[j], length);
    for (std::int64_t k = o[j]; k < o[j + 1]; ++k) inside("guidance.rows", args.terms[k], length);
  }
}

void solver_step(const Backend& b, const TensorPtr& latents, const TensorPtr& velocity, const Int32Array& offsets, const Int32Array& owners,
                 const Int32Array& origins, const Int32Array& term_offsets, const Int32Array& terms, const FloatArray& weights, const FloatArray& a,
                 const FloatArray& bb, const OptionalTensor& base, const OptionalTensor& previous, const OptionalTensor& keep) {
  const char* op = "solver_step";
  const View& x = latents->view;
  const SegmentView segments = want_segments(op, offsets, owners, x.rows, -1);
  SolverArgs args{x, velocity->view, view_or_none(base), view_or_none(previous), view_or_none(keep), segments, origins.data(), term_offsets.data(),
                  terms.data(), weights.data(), a.data(), bb.data(), b.threads};
  want_dtype(op, "latents", x, Dtype::f32);
  want_dtype(op, "velocity", args.velocity, Dtype::f32);
  want_shape(op, "velocity", args.velocity, args.velocity.rows, x.cols);
  for (const auto& [name, view] : {std::pair{"base", args.base}, std::pair{"previous", args.previous}, std::pair{"keep", args.keep}}) {
    if (!view.data) continue;
    want_shape(op, name, view, x.rows, x.cols);
    want_dtype(op, name, view, Dtype::f32);
  }
  want_guidance(op, args, origins.size(), term_offsets.size(), terms.size(), weights.size());
  want_length(op, "a", a.size(), segments.count);
  want_length(op, "b", bb.size(), segments.count);
  for (std::int64_t j = 0; j < segments.count; ++j)
    if (args.b[j] != 0 && !args.previous.data) refuse(op, "previous", "None", "an array where b is not 0");
  const Unlocked unlocked;
  b.table->solver_step(args);
}

void blend(const Backend& b, const TensorPtr& x, const TensorPtr& y, const TensorPtr& z, const TensorPtr& weights, const Int32Array& offsets,
           const Int32Array& owners, const FloatArray& a, const FloatArray& bb) {
  const char* op = "blend";
  const View& rows = x->view;
  const SegmentView segments = want_segments(op, offsets, owners, rows.rows, -1);
  const BlendArgs args{rows, y->view, z->view, weights->view, segments, a.data(), bb.data(), b.threads};
  want_dtype(op, "x", rows, Dtype::f32);
  for (const auto& [name, view, width] :
       {std::tuple{"y", args.y, rows.cols}, std::tuple{"z", args.z, rows.cols}, std::tuple{"weights", args.weights, std::int64_t(1)}}) {
    want_shape(op, name, view, rows.rows, width);
    want_dtype(op, name, view, Dtype::f32);
  }
  want_length(op, "a", a.size(), segments.count);
  want_length(op, "b", bb.size(), segments.count);
  const Unlocked unlocked;
  b.table->blend(args);
}

}  // namespace

void bind_dense_ops(py::class_<Backend>& backend) {
  backend
      .def("array", &array, py::arg("values"), py::arg("dtype"))
      .def("empty", [](const Backend& b, std::int64_t rows, std::int64_t cols, const std::string& dtype) { return new_tensor(rows, cols, parse_dtype(b, dtype)); },
           py::arg("rows"), py::arg("width"), py::arg("dtype"))
      .def("zeros", &zeros, py::arg("rows"), py::arg("width"), py::arg("dtype"))
      .def("cast", &cast, py::arg("x"), py::arg("dtype"), py::arg("activation"))
      .def("concat", &concat, py::arg("parts"))
      .def("add", &add, py::arg("x"), py::arg("y"), py::arg("offsets").none(true), py::arg("only").none(true),
           py::arg("gate").none(true) = py::none(), py::arg("row_owners").none(true) = py::none())
      .def("gated", &gated, py::arg("gate"), py::arg("value"), py::arg("activation"), py::arg("out").none(true))
      .def("pack_linear", &pack_linear, py::arg("weights"), py::arg("biases"), py::arg("swiglu"), py::arg("int8") = false)
      .def("linear", &linear, py::arg("x"), py::arg("weight"), py::arg("activation"), py::arg("gate").none(true), py::arg("residual").none(true),
           py::arg("row_owners").none(true), py::arg("out").none(true), py::arg("dtype"), py::arg("low_rank") = LowRankTerms())
      .def("pack_low_rank", &pack_low_rank, py::arg("down"), py::arg("up"), py::arg("place"), py::arg("first"), py::arg("last"), py::arg("n"),
           py::arg("swiglu"))
      .def("modulate", &modulate, py::arg("x"), py::arg("shift").none(true), py::arg("scale"), py::arg("offsets"), py::arg("owners"), py::arg("kind"), py::arg("eps"),
           py::arg("weight").none(true) = py::none())
      .def("norm", &norm, py::arg("x"), py::arg("weight"), py::arg("bias").none(true), py::arg("kind"), py::arg("eps"), py::arg("dtype"))
      .def("qk_norm_rope", &qk_norm_rope, py::arg("qkv"), py::arg("heads"), py::arg("q_weight").none(true), py::arg("k_weight").none(true),
           py::arg("cos").none(true), py::arg("sin").none(true), py::arg("eps"), py::arg("plain_q").none(true),
           py::arg("kv_heads").none(true) = py::none())
      .def("attention", &attention, py::arg("q"), py::arg("k"), py::arg("v"), py::arg("heads"), py::arg("samples"), py::arg("q_offsets"), py::arg("q_owners"),
           py::arg("kv_offsets"), py::arg("kv_owners"), py::arg("adapters").none(true), py::arg("out").none(true),
           py::arg("kv_heads").none(true) = py::none(), py::arg("scale").none(true) = py::none(), py::arg("causal") = false,
           py::arg("bias").none(true) = py::none())
      .def("embed", &embed, py::arg("indices"), py::arg("tables"))
      .def("timestep_embedding", &embed_timesteps, py::arg("timesteps"), py::arg("width"), py::arg("max_period"))
      .def("solver_step", &solver_step, py::arg("latents"), py::arg("velocity"), py::arg("offsets"), py::arg("owners"), py::arg("origins"),
           py::arg("term_offsets"), py::arg("terms"), py::arg("weights"), py::arg("a"), py::arg("b"), py::arg("base").none(true),
           py::arg("previous").none(true), py::arg("keep").none(true))
      .def("blend", &blend, py::arg("x"), py::arg("y"), py::arg("z"), py::arg("weights"), py::arg("offsets"), py::arg("owners"), py::arg("a"), py::arg("b"));
}

}  // namespace salon
