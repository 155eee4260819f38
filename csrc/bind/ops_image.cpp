// Bindings of the autoencoder's ops: check, allocate, call. What each op does is documented in kernels/ops.py.
#include <pybind11/stl.h>

#include "arrays.h"
#include "unlocked.h"

namespace salon {
namespace {

std::string dims_of(const py::array& a) {
  std::string s = "[";
  for (py::ssize_t i = 0; i < a.ndim(); ++i) s += (i ? ", " : "") + std::to_string(a.shape(i));
  return s + "]";
}

// Checks grids [B, 2] with sides of at least `smallest` against the rows of x; returns B.
std::int64_t want_grids(const char* op, const Int32Array& grids, const View& x, std::int32_t smallest) {
  if (grids.ndim() != 2 || grids.shape(1) != 2) refuse(op, "grids", dims_of(grids), "[B, 2] of height, width");
  const std::int64_t images = grids.shape(0);
  const std::int32_t* side = grids.data();
  std::int64_t pixels = 0;
  for (std::int64_t i = 0; i < images; ++i, side += 2) {
    if (side[0] < smallest || side[1] < smallest)
      refuse(op, "grids", std::to_string(side[0]) + " x " + std::to_string(side[1]), "sides of at least " + std::to_string(smallest));
    pixels += std::int64_t(side[0]) * side[1];
    if (pixels > x.rows) break;
  }
  if (pixels != x.rows)
    refuse(op, "grids", (pixels > x.rows ? "at least " : "") + std::to_string(pixels) + " pixels", std::to_string(x.rows) + ", the rows of x");
  return images;
}

void want_conv(const char* op, const View& x, const Packed& w, bool square) {
  if (w.swiglu) refuse(op, "weight", "a swiglu weight", "a convolution's");
  if (square && w.taps != 9) refuse(op, "weight", "a 1x1 convolution", "a 3x3 convolution");
  if (x.cols != w.k) refuse(op, "x", shape_of(x), "[P, " + std::to_string(w.k) + "]");
  want_dtype(op, "x", x, w.dtype);
}

WeightPtr pack_conv(const Backend& b, const py::array& weight, const std::optional<FloatArray>& bias) {
  const char* op = "pack_conv";
  const bool bits = weight.dtype().is(py::dtype::of<std::uint16_t>());
  if (!bits && !weight.dtype().is(py::dtype::of<float>()))
    refuse(op, "weight", py::str(weight.dtype()).cast<std::string>(), "float32, or uint16 holding bfloat16 bits");
  if (weight.ndim() != 4 || weight.shape(2) != weight.shape(3) || (weight.shape(2) != 1 && weight.shape(2) != 3) || weight.size() == 0)
    refuse(op, "weight", dims_of(weight), "[O, I, 1, 1] or [O, I, 3, 3] with O and I at least 1");
  if (!(weight.flags() & py::array::c_style)) refuse(op, "weight", "another layout", "a C-contiguous array");
  const std::int64_t n = weight.shape(0), k = weight.shape(1), taps = weight.shape(2) * weight.shape(3);
  if (bias) want_length(op, "bias", bias->size(), n);
  const std::vector<Source> sources{{weight.data(), bits ? Dtype::bf16 : Dtype::f32, n, bias ? bias->data() : nullptr}};
  const Unlocked unlocked;
  return pack_weight(sources, k, taps, b.compute, false, b.threads);
}

TensorPtr run(const Backend& b, const TensorPtr& x, const WeightPtr& w, const Int32Array& grids, std::int64_t images,
              const View& residual, std::int64_t rows, Dtype dtype, int upsample, int stride, bool wrap, bool symmetric = false) {
  TensorPtr out = new_tensor(rows, w->view.n, dtype);
  const Unlocked unlocked;
  const void* parities = upsample == 2 ? w->parities(b.threads) : nullptr;
  const ConvArgs args{x->view, out->view, &w->view, parities, residual, grids.data(), images, upsample, stride, wrap, b.threads, symmetric};
  b.table->conv2d(args);
  return out;
}

TensorPtr conv2d(const Backend& b, const TensorPtr& x, const WeightPtr& w, const Int32Array& grids, const OptionalTensor& residual,
                 const std::string& dtype, bool wrap) {
  const char* op = "conv2d";
  want_conv(op, x->view, w->view, false);
  const std::int64_t images = want_grids(op, grids, x->view, 1);
  View added;
  if (residual && *residual) {
    added = (*residual)->view;
    want_shape(op, "residual", added, x->view.rows, w->view.n);
    want_dtype(op, "residual", added, w->view.dtype);
  }
  return run(b, x, w, grids, images, added, x->view.rows, parse_dtype(b, dtype), 1, 1, wrap);
}

TensorPtr upsample(const Backend& b, const TensorPtr& x, const WeightPtr& w, const Int32Array& grids, bool wrap) {
  const char* op = "upsample";
  want_conv(op, x->view, w->view, true);
  const std::int64_t images = want_grids(op, grids, x->view, 1);
  return run(b, x, w, grids, images, View{}, 4 * x->view.rows, w->view.dtype, 2, 1, wrap);
}

TensorPtr downsample(const Backend& b, const TensorPtr& x, const WeightPtr& w, const Int32Array& grids, bool symmetric) {
  const char* op = "downsample";
  want_conv(op, x->view, w->view, true);
  const std::int64_t images = want_grids(op, grids, x->view, 2);
  std::int64_t rows = 0;
  for (std::int64_t i = 0; i < images; ++i) rows += std::int64_t((grids.data()[2 * i] + symmetric) / 2) * ((grids.data()[2 * i + 1] + symmetric) / 2);
  return run(b, x, w, grids, images, View{}, rows, w->view.dtype, 1, 2, false, symmetric);
}

TensorPtr group_norm_silu(const Backend& b, const TensorPtr& x, const TensorPtr& weight, const TensorPtr& bias, const Int32Array& grids,
                          std::int64_t groups, double eps, bool silu) {
  const char* op = "group_norm_silu";
  const View& v = x->view;
  want_dtype(op, "x", v, b.compute);
  for (const auto& [name, parameter] : {std::pair{"weight", weight}, std::pair{"bias", bias}}) {
    want_shape(op, name, parameter->view, 1, v.cols);
    want_dtype(op, name, parameter->view, Dtype::f32);
  }
  if (groups < 1 || v.cols < 1 || v.cols % groups)
    refuse(op, "groups", std::to_string(groups), "a divisor of the " + std::to_string(v.cols) + " channels");
  want_finite(op, "eps", eps);
  const std::int64_t images = want_grids(op, grids, v, 1);
  TensorPtr out = new_tensor(v.rows, v.cols, v.dtype);
  CallMemory memory;
  const GroupNormArgs args{v, out->view, static_cast<const float*>(weight->view.data), static_cast<const float*>(bias->view.data),
                           grids.data(), images, groups, nearest(eps), silu, &memory, b.threads};
  const Unlocked unlocked;
  b.table->group_norm_silu(args);
  return out;
}

}  // namespace

void bind_image_ops(py::class_<Backend>& backend) {
  backend.def("pack_conv", &pack_conv, py::arg("weight"), py::arg("bias").none(true))
      .def("conv2d", &conv2d, py::arg("x"), py::arg("weight"), py::arg("grids"), py::arg("residual").none(true), py::arg("dtype"),
           py::arg("wrap"))
      .def("upsample", &upsample, py::arg("x"), py::arg("weight"), py::arg("grids"), py::arg("wrap"))
      .def("downsample", &downsample, py::arg("x"), py::arg("weight"), py::arg("grids"), py::arg("symmetric") = false)
      .def("group_norm_silu", &group_norm_silu, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("grids"), py::arg("groups"),
           py::arg("eps"), py::arg("silu"));
}

}  // namespace salon
