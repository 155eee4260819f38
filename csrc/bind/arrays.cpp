#include "arrays.h"
#include "unlocked.h"

#include <pybind11/stl.h>

#include <cmath>
#include <cstring>

#include "../bf16.h"
#include "../memory.h"

namespace salon {

Dtype parse_dtype(const Backend& backend, const std::string& name) {
  if (name == "compute") return backend.compute;
  if (name == "float32") return Dtype::f32;
  throw py::value_error("dtype: got \"" + name + "\", want \"compute\" or \"float32\"");
}

Act parse_activation(const std::string& name) {
  if (name == "none") return Act::none;
  if (name == "gelu_tanh") return Act::gelu_tanh;
  if (name == "gelu") return Act::gelu;
  if (name == "silu") return Act::silu;
  if (name == "quick_gelu") return Act::quick_gelu;
  if (name == "sigmoid") return Act::sigmoid;
  if (name == "tanh") return Act::tanh;
  if (name == "swiglu") return Act::swiglu;
  if (name == "geglu") return Act::geglu;
  if (name == "geglu_tanh") return Act::geglu_tanh;
  throw py::value_error("activation: got \"" + name +
                        "\", want none, gelu_tanh, gelu, silu, quick_gelu, sigmoid, tanh, swiglu, geglu or geglu_tanh");
}

Norm parse_norm(const std::string& name) {
  if (name == "layer") return Norm::layer;
  if (name == "rms") return Norm::rms;
  throw py::value_error("kind: got \"" + name + "\", want layer or rms");
}

TensorPtr new_tensor(std::int64_t rows, std::int64_t cols, Dtype dtype) {
  if (rows < 0 || cols < 0) throw py::value_error("array: sides must not be negative");
  if (cols && rows > (std::int64_t(1) << 46) / cols) throw py::value_error("array: " + std::to_string(rows) + " x " + std::to_string(cols) + " is too large");
  auto tensor = std::make_shared<Tensor>();
  tensor->memory = std::shared_ptr<void>(acquire(std::size_t(rows * cols) * dtype_bytes(dtype)), release);
  tensor->view = View{tensor->memory.get(), rows, cols, cols, dtype};
  return tensor;
}

std::string shape_of(const View& v) {
  return "[" + std::to_string(v.rows) + ", " + std::to_string(v.cols) + "] " + dtype_name(v.dtype);
}

void refuse(const char* op, const char* argument, const std::string& got, const std::string& want) {
  throw py::value_error(std::string(op) + ": " + argument + ": got " + got + ", want " + want);
}

void want_shape(const char* op, const char* argument, const View& v, std::int64_t rows, std::int64_t cols) {
  if (v.rows != rows || v.cols != cols)
    refuse(op, argument, shape_of(v), "[" + std::to_string(rows) + ", " + std::to_string(cols) + "]");
}

void want_dtype(const char* op, const char* argument, const View& v, Dtype dtype) {
  if (v.dtype != dtype) refuse(op, argument, shape_of(v), dtype_name(dtype));
}

void want_length(const char* op, const char* argument, py::ssize_t got, std::int64_t want) {
  if (got != want) refuse(op, argument, "length " + std::to_string(got), "length " + std::to_string(want));
}

void want_finite(const char* op, const char* argument, double value) {
  if (!(value > 0) || !std::isfinite(value)) refuse(op, argument, std::to_string(value), "a positive number");
}

float nearest(double value) {
  const volatile double given = value;  // keeps the conversion where it is written
  const FloatMode mode;
  const volatile float rounded = float(given);
  return rounded;
}

void want_offsets(const char* op, const Int32Array& offsets, std::int64_t rows) {
  if (offsets.ndim() != 1 || offsets.size() < 1) refuse(op, "segments", std::to_string(offsets.size()) + " offsets", "at least one");
  const std::int32_t* o = offsets.data();
  const std::int64_t count = offsets.size() - 1;
  if (o[0] != 0) refuse(op, "segments", "first offset " + std::to_string(o[0]), "0");
  for (std::int64_t j = 0; j < count; ++j)
    if (o[j + 1] < o[j]) refuse(op, "segments", "falling offsets at segment " + std::to_string(j), "offsets that never fall");
  if (o[count] != rows) refuse(op, "segments", std::to_string(o[count]) + " rows", std::to_string(rows) + " rows");
}

SegmentView want_segments(const char* op, const Int32Array& offsets, const Int32Array& owners, std::int64_t rows,
                          std::int64_t samples) {
  if (offsets.ndim() != 1 || owners.ndim() != 1 || offsets.size() != owners.size() + 1)
    refuse(op, "segments", std::to_string(offsets.size()) + " offsets and " + std::to_string(owners.size()) + " owners",
           "one offset more than owners");
  want_offsets(op, offsets, rows);
  for (std::int64_t j = 0; j < owners.size(); ++j) {
    const std::int32_t owner = owners.data()[j];
    if (owner < 0 || (samples >= 0 && owner >= samples))
      refuse(op, "segments", "owner " + std::to_string(owner), samples >= 0 ? "0 to " + std::to_string(samples - 1) : "no negative owner");
  }
  return SegmentView{offsets.data(), owners.data(), owners.size()};
}

namespace {

TensorPtr view_of(const TensorPtr& t, std::int64_t row, std::int64_t rows, std::int64_t col, std::int64_t cols) {
  auto view = std::make_shared<Tensor>(*t);
  char* data = static_cast<char*>(t->view.data);
  view->view.data = data + std::size_t(row * t->view.stride + col) * dtype_bytes(t->view.dtype);
  view->view.rows = rows;
  view->view.cols = cols;
  return view;
}

FloatArray to_numpy(const Tensor& t) {
  const View& v = t.view;
  FloatArray out({py::ssize_t(v.rows), py::ssize_t(v.cols)});
  float* o = out.mutable_data();
  const Unlocked unlocked;
  for (std::int64_t r = 0; r < v.rows; ++r, o += v.cols) {
    if (v.dtype == Dtype::f32) {
      std::memcpy(o, static_cast<const float*>(v.data) + r * v.stride, std::size_t(v.cols) * 4);
      continue;
    }
    const std::uint16_t* x = static_cast<const std::uint16_t*>(v.data) + r * v.stride;
    for (std::int64_t c = 0; c < v.cols; ++c) o[c] = bf16_to_f32(x[c]);
  }
  return out;
}

void check_range(const char* what, std::int64_t start, std::int64_t stop, std::int64_t size) {
  if (start < 0 || stop < start || stop > size)
    throw py::value_error(std::string(what) + ": got " + std::to_string(start) + ".." + std::to_string(stop) +
                          ", want a range within 0.." + std::to_string(size));
}

}  // namespace

void bind_arrays(py::module_& m) {
  py::class_<Tensor, TensorPtr>(m, "Tensor")
      .def_property_readonly("shape", [](const Tensor& t) { return py::make_tuple(t.view.rows, t.view.cols); })
      .def_property_readonly("stride", [](const Tensor& t) { return t.view.stride; })
      .def_property_readonly("dtype", [](const Tensor& t) { return dtype_name(t.view.dtype); })
      .def("numpy", &to_numpy)
      .def("rows", [](const TensorPtr& t, std::int64_t start, std::int64_t stop) {
        check_range("rows", start, stop, t->view.rows);
        return view_of(t, start, stop - start, 0, t->view.cols);
      })
      .def("columns", [](const TensorPtr& t, std::int64_t start, std::int64_t stop) {
        check_range("columns", start, stop, t->view.cols);
        return view_of(t, 0, t->view.rows, start, stop - start);
      })
      .def("__repr__", [](const Tensor& t) { return "Tensor(" + shape_of(t.view) + ")"; });
  py::class_<PackedWeight, WeightPtr>(m, "Weight")
      .def_property_readonly("n", [](const PackedWeight& w) { return w.view.n; })
      .def_property_readonly("k", [](const PackedWeight& w) { return w.view.k; })
      .def_property_readonly("taps", [](const PackedWeight& w) { return w.view.taps; })
      .def_property_readonly("dtype", [](const PackedWeight& w) { return dtype_name(w.view.dtype); })
      .def_property_readonly("swiglu", [](const PackedWeight& w) { return w.view.swiglu; })
      .def_property_readonly("bytes", [](const PackedWeight& w) { return w.bytes + w.scale.size() * sizeof(float); })
      .def_property_readonly("error", [](const PackedWeight& w) { return w.error; });
  py::class_<LowRank, LowRankPtr>(m, "LowRank")
      .def_property_readonly("n", [](const LowRank& w) { return w.n; })
      .def_property_readonly("k", [](const LowRank& w) { return w.down->view.k; })
      .def_property_readonly("rank", [](const LowRank& w) { return w.down->view.n; })
      .def_property_readonly("bytes", [](const LowRank& w) { return w.down->bytes + w.up.size() * sizeof(float); });
}

}  // namespace salon
