// The module salon.kernels._C: a backend per instruction set, and what a user may ask of the machine.
#include <pybind11/stl.h>

#include "../cpu.h"
#include "../machine.h"
#include "../memory.h"
#include "../pool.h"
#include "arrays.h"
#include "unlocked.h"

namespace py = pybind11;
using namespace salon;

namespace {

Backend create(const std::string& isa, const std::string& dtype, int threads) {
  Backend b;
  b.table = &pick(isa);
  if (dtype.empty()) b.compute = b.table->bf16 ? Dtype::bf16 : Dtype::f32;
  else if (dtype == "float32") b.compute = Dtype::f32;
  else if (dtype == "bfloat16" && b.table->bf16) b.compute = Dtype::bf16;
  else if (dtype == "bfloat16") throw py::value_error(std::string("dtype: got bfloat16, but isa ") + b.table->name + " has no bf16 dot product: use float32");
  else throw py::value_error("dtype: got " + dtype + ", want bfloat16 or float32");
  if (threads < 0 || threads > kMaxThreads) throw py::value_error("threads: got " + std::to_string(threads) + ", want 1 to " + std::to_string(kMaxThreads));
  const int asked = threads ? threads : default_threads();
  std::string why;
  b.threads = start_threads(asked, why);
  if (b.threads < asked)
    b.note = "threads: " + std::to_string(b.threads) + " of " + std::to_string(asked) + " are used, since the system started no more (" +
             why + "); ask for fewer, or raise its limit of processes or memory";
  return b;
}

py::dict memory() {
  const MemoryStats s = memory_stats();
  py::dict d;
  d["in_use"] = s.in_use;
  d["cached"] = s.cached;
  d["system_calls"] = s.system_calls;
  d["peak"] = s.peak;
  d["most_in_use"] = s.most_in_use;
  return d;
}

}  // namespace

PYBIND11_MODULE(_C, m, py::mod_gil_not_used()) {
  bind_arrays(m);
  bind_elementary(m);
  py::class_<Backend> backend(m, "Backend");
  backend.def(py::init(&create), py::arg("isa"), py::arg("dtype"), py::arg("threads"))
      .def_property_readonly("isa", [](const Backend& b) { return std::string(b.table->name); })
      .def_property_readonly("compute", [](const Backend& b) { return std::string(dtype_name(b.compute)); })
      .def_readonly("threads", &Backend::threads)
      .def_readonly("note", &Backend::note)
      .def("peak", [](const Backend& b, double seconds) {
        const Unlocked unlocked;
        return b.table->peak(seconds, b.compute == Dtype::bf16);
      }, py::arg("seconds"));
  bind_dense_ops(backend);
  bind_image_ops(backend);
  m.def("isa_levels", &isa_levels);
  m.def("default_threads", &default_threads);
  m.def("usable_cores", &usable_cores, py::arg("root"), py::arg("affinity"));
  m.def("memory_limit", &memory_limit, py::arg("root"));
  m.def("memory", &memory);
  m.def("trim_memory", &trim_memory);
}
