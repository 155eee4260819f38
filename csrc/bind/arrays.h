// The array of the Python side: owned memory and a view of it. Also the checks that every binding begins with.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <optional>
#include <string>

#include "../pack.h"
#include "../table.h"

namespace salon {

namespace py = pybind11;

struct Tensor {
  std::shared_ptr<void> memory;  // shared by all views
  View view;
};
using TensorPtr = std::shared_ptr<Tensor>;
using OptionalTensor = std::optional<TensorPtr>;
using WeightPtr = std::shared_ptr<PackedWeight>;
using LowRankPtr = std::shared_ptr<LowRank>;
using Int32Array = py::array_t<std::int32_t, py::array::c_style>;
using FloatArray = py::array_t<float, py::array::c_style>;

// One backend: a table of kernels, the compute dtype and the number of threads.
struct Backend {
  const Table* table = nullptr;
  Dtype compute = Dtype::f32;
  int threads = 1;
  std::string note;  // why there are fewer threads than were asked for; empty: there are not
};

inline std::size_t dtype_bytes(Dtype d) { return d == Dtype::bf16 ? 2 : 4; }
inline const char* dtype_name(Dtype d) { return d == Dtype::i8 ? "int8" : d == Dtype::bf16 ? "bfloat16" : "float32"; }
Dtype parse_dtype(const Backend& backend, const std::string& name);  // "compute" or "float32"
Act parse_activation(const std::string& name);
Norm parse_norm(const std::string& name);

TensorPtr new_tensor(std::int64_t rows, std::int64_t cols, Dtype dtype);  // contents unspecified
std::string shape_of(const View& v);                                      // "[3, 384] bfloat16"

// Raise ValueError: "linear: x: got [3, 5] float32, want ..."
[[noreturn]] void refuse(const char* op, const char* argument, const std::string& got, const std::string& want);
void want_shape(const char* op, const char* argument, const View& v, std::int64_t rows, std::int64_t cols);
void want_dtype(const char* op, const char* argument, const View& v, Dtype dtype);
void want_length(const char* op, const char* argument, py::ssize_t got, std::int64_t want);
void want_finite(const char* op, const char* argument, double value);  // and positive
float nearest(double value);  // rounded to nearest, whatever the caller's mode

// Checks that offsets begin with 0, never fall and end with T rows.
void want_offsets(const char* op, const Int32Array& offsets, std::int64_t rows);

// Checks offsets and owners against T rows and, where >= 0, S samples; pointers live as long as the arrays.
SegmentView want_segments(const char* op, const Int32Array& offsets, const Int32Array& owners, std::int64_t rows,
                          std::int64_t samples);

void bind_arrays(py::module_& m);
void bind_elementary(py::module_& m);
void bind_dense_ops(py::class_<Backend>& backend);
void bind_image_ops(py::class_<Backend>& backend);

}  // namespace salon

// pybind11 makes a null pointer of None, and takes it for an argument of any op. An op that allows None says so by
// std::optional, which does not ask here.
namespace pybind11::detail {

template <class T> struct NeverNone : copyable_holder_caster<T, std::shared_ptr<T>> {
  bool load(handle from, bool convert) {
    return !from.is_none() && copyable_holder_caster<T, std::shared_ptr<T>>::load(from, convert);
  }
};
template <> struct type_caster<salon::TensorPtr> : NeverNone<salon::Tensor> {};
template <> struct type_caster<salon::WeightPtr> : NeverNone<salon::PackedWeight> {};
template <> struct type_caster<salon::LowRankPtr> : NeverNone<salon::LowRank> {};

}  // namespace pybind11::detail
