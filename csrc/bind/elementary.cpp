// Bindings of the elementary functions: float64 arrays of any shape.
#include "../elementary.h"

#include "../float_mode.h"
#include "arrays.h"

namespace salon {
namespace {

using DoubleArray = py::array_t<double, py::array::c_style>;

DoubleArray like(const DoubleArray& x) { return DoubleArray(std::vector<py::ssize_t>(x.shape(), x.shape() + x.ndim())); }

template <double (*function)(double)> DoubleArray each(const DoubleArray& x) {
  DoubleArray out = like(x);
  const FloatMode mode;
  double* o = out.mutable_data();
  for (py::ssize_t i = 0; i < x.size(); ++i) o[i] = function(x.data()[i]);
  return out;
}

template <elementary::CosSin (*function)(double)> py::tuple both(const DoubleArray& x) {
  DoubleArray cos = like(x), sin = like(x);
  const FloatMode mode;
  double *c = cos.mutable_data(), *s = sin.mutable_data();
  for (py::ssize_t i = 0; i < x.size(); ++i) {
    const elementary::CosSin at = function(x.data()[i]);
    c[i] = at.cos;
    s[i] = at.sin;
  }
  return py::make_tuple(std::move(cos), std::move(sin));
}

}  // namespace

void bind_elementary(py::module_& m) {
  m.def("exp", &each<elementary::exp>, py::arg("x"));
  m.def("log", &each<elementary::log>, py::arg("x"));
  m.def("cos_sin", &both<elementary::cos_sin>, py::arg("x"));
  m.def("cos_sin_turns", &both<elementary::cos_sin_turns>, py::arg("turns"));
}

}  // namespace salon
