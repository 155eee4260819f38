// cast, add, gated and embed: memory-bound passes over rows.
#include "pool.h"
#include "table.h"
#include "vecmath.h"

namespace salon::SALON_ISA_NS {
namespace {

constexpr int64_t kElements = 16384;  // work of one task

template <Act A> SALON_INLINE vf act_of(vf x) {
  if constexpr (A == Act::silu) return silu(x);
  else if constexpr (A == Act::sigmoid) return sigmoid(x);
  else if constexpr (A == Act::tanh) return tanh(x);
  else return x;
}

// body(act) with the activation as a template argument.
template <class F> SALON_INLINE void with_act(Act act, F body) {
  switch (act) {
    case Act::silu: return body([](vf x) { return act_of<Act::silu>(x); });
    case Act::sigmoid: return body([](vf x) { return act_of<Act::sigmoid>(x); });
    case Act::tanh: return body([](vf x) { return act_of<Act::tanh>(x); });
    default: return body([](vf x) { return x; });
  }
}

template <class X, class O> void cast_rows(const CastArgs& a, int64_t begin, int64_t end) {
  with_act(a.act, [&](auto act) {
    for (int64_t r = begin; r < end; ++r) {
      const X* x = row_of<const X>(a.x, r);
      O* o = row_of<O>(a.out, r);
      int64_t c = 0;
      for (; c + kLanes <= a.x.cols; c += kLanes) store(o + c, act(load(x + c)));
      if (const int n = int(a.x.cols - c)) store(o + c, act(load(x + c, n)), n);
    }
  });
}

template <class X, class Y, class O> void gated_rows(const GatedArgs& a, int64_t begin, int64_t end) {
  with_act(a.act, [&](auto act) {
    for (int64_t r = begin; r < end; ++r) {
      const X* x = row_of<const X>(a.gate, r);
      const Y* y = row_of<const Y>(a.value, r);
      O* o = row_of<O>(a.out, r);
      int64_t c = 0;
      for (; c + kLanes <= a.out.cols; c += kLanes) store(o + c, act(load(x + c)) * load(y + c));
      if (const int n = int(a.out.cols - c)) store(o + c, act(load(x + c, n)) * load(y + c, n), n);
    }
  });
}
template <class X, class Y> void gated_into(const GatedArgs& a, int64_t begin, int64_t end) {
  if (a.out.dtype == Dtype::bf16) gated_rows<X, Y, uint16_t>(a, begin, end);
  else gated_rows<X, Y, float>(a, begin, end);
}

// Bit for bit: a bf16 conversion there and back would lose the smallest numbers and quieten NaN.
template <class T> void copy_rows(const CastArgs& a, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) memcpy(row_of<T>(a.out, r), row_of<const T>(a.x, r), size_t(a.x.cols) * sizeof(T));
}

template <class Y> void add_rows(const AddArgs& a, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    float* x = row_of<float>(a.x, r);
    const Y* y = row_of<const Y>(a.y, r);
    int64_t c = 0;
    if (a.gate.data) {
      const float* gate = row_of<const float>(a.gate, a.row_owner[r]);
      for (; c + kLanes <= a.x.cols; c += kLanes) store(x + c, fma(load(gate + c), load(y + c), load(x + c)));
      if (const int n = int(a.x.cols - c)) store(x + c, fma(load(gate + c, n), load(y + c, n), load(x + c, n)), n);
      continue;
    }
    for (; c + kLanes <= a.x.cols; c += kLanes) store(x + c, load(x + c) + load(y + c));
    if (const int n = int(a.x.cols - c)) store(x + c, load(x + c, n) + load(y + c, n), n);
  }
}

template <class W> void accumulate_row(float* o, const W* w, int64_t cols, bool first) {
  int64_t c = 0;
  for (; c + kLanes <= cols; c += kLanes) store(o + c, first ? load(w + c) : load(o + c) + load(w + c));
  if (const int n = int(cols - c)) store(o + c, first ? load(w + c, n) : load(o + c, n) + load(w + c, n), n);
}

}  // namespace

void cast(const CastArgs& args) {
  const int64_t grain = rows_per_task(args.x.cols, kElements);
  struct Job { const CastArgs* a; int64_t grain; } job{&args, grain};
  parallel(ceil_div(args.x.rows, grain), [](void* context, int64_t task) {
    const Job& j = *static_cast<Job*>(context);
    const CastArgs& a = *j.a;
    const int64_t begin = task * j.grain, end = least(begin + j.grain, a.x.rows);
    const bool x16 = a.x.dtype == Dtype::bf16, o16 = a.out.dtype == Dtype::bf16;
    const bool plain = a.act == Act::none;
    if (plain && x16 && o16) copy_rows<uint16_t>(a, begin, end);
    else if (plain && !x16 && !o16) copy_rows<float>(a, begin, end);
    else if (x16 && o16) cast_rows<uint16_t, uint16_t>(a, begin, end);
    else if (x16) cast_rows<uint16_t, float>(a, begin, end);
    else if (o16) cast_rows<float, uint16_t>(a, begin, end);
    else cast_rows<float, float>(a, begin, end);
  }, &job, args.threads);
}

void add(const AddArgs& args) {
  parallel(args.count, [](void* context, int64_t task) {
    const AddArgs& a = *static_cast<const AddArgs*>(context);
    const int64_t begin = a.ranges[2 * task], end = a.ranges[2 * task + 1];
    if (a.y.dtype == Dtype::bf16) add_rows<uint16_t>(a, begin, end);
    else add_rows<float>(a, begin, end);
  }, const_cast<AddArgs*>(&args), args.threads);
}

void gated(const GatedArgs& args) {
  struct Job { const GatedArgs* a; int64_t grain; } job{&args, rows_per_task(args.out.cols, kElements)};
  parallel(ceil_div(args.out.rows, job.grain), [](void* context, int64_t task) {
    const Job& j = *static_cast<Job*>(context);
    const GatedArgs& a = *j.a;
    const int64_t begin = task * j.grain, end = least(begin + j.grain, a.out.rows);
    const bool x16 = a.gate.dtype == Dtype::bf16, y16 = a.value.dtype == Dtype::bf16;
    if (x16 && y16) gated_into<uint16_t, uint16_t>(a, begin, end);
    else if (x16) gated_into<uint16_t, float>(a, begin, end);
    else if (y16) gated_into<float, uint16_t>(a, begin, end);
    else gated_into<float, float>(a, begin, end);
  }, &job, args.threads);
}

void embed(const EmbedArgs& args) {
  const int64_t grain = rows_per_task(args.out.cols, kElements);
  struct Job { const EmbedArgs* a; int64_t grain; } job{&args, grain};
  parallel(ceil_div(args.out.rows, grain), [](void* context, int64_t task) {
    const Job& j = *static_cast<Job*>(context);
    const EmbedArgs& a = *j.a;
    const int64_t begin = task * j.grain, end = least(begin + j.grain, a.out.rows);
    for (int64_t r = begin; r < end; ++r) {
      float* o = row_of<float>(a.out, r);
      for (int64_t t = 0; t < a.count; ++t) {
        const View& table = a.tables[t];
        const int64_t index = a.indices[t][r];
        if (table.dtype == Dtype::bf16) accumulate_row(o, row_of<const uint16_t>(table, index), a.out.cols, t == 0);
        else accumulate_row(o, row_of<const float>(table, index), a.out.cols, t == 0);
      }
    }
  }, &job, args.threads);
}

}  // namespace salon::SALON_ISA_NS
