//===- RuntimeModule.cpp - The Python module _nsa_runtime -----------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CallPlans.h"
#include "Caller.h"
#include "Errors.h"
#include "Plan.h"
#include "SetCaller.h"
#include "Steps.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;
namespace rt = nsa::runtime;
using namespace nb::literals;
using namespace nsa::python;

namespace {

/// RuntimeError's subclass for what the machine lacks: a driver, a device, a
/// kernel for where the arrays are.
PyObject *driverError = nullptr;

PyObject *exceptionFor(nsa_status status) {
  switch (status) {
  case NSA_INVALID_ARGUMENT:
  case NSA_MANIFEST:
    return PyExc_ValueError;
  case NSA_TYPE:
    return PyExc_TypeError;
  case NSA_IO:
    return PyExc_OSError;
  case NSA_OUT_OF_MEMORY:
    return PyExc_MemoryError;
  case NSA_INTERNAL:
    return PyExc_RuntimeError;
  default:
    return driverError;
  }
}

/// Host kernels and arrays may lead back to what holds them (a callback made
/// with ctypes knows its globals): the garbage collector has to see through us.
int traverseStep(PyObject *self, visitproc visit, void *arg) {
  Py_VISIT(Py_TYPE(self));
  if (nb::inst_ready(self)) {
    Py_VISIT(nb::inst_ptr<PyStep>(self)->keep.ptr());
    Py_VISIT(nb::inst_ptr<PyStep>(self)->simulator.ptr());
  }
  return 0;
}

int clearStep(PyObject *self) {
  nb::inst_ptr<PyStep>(self)->keep.reset();
  nb::inst_ptr<PyStep>(self)->simulator.reset();
  return 0;
}

int traverseBinding(PyObject *self, visitproc visit, void *arg) {
  Py_VISIT(Py_TYPE(self));
  if (!nb::inst_ready(self))
    return 0;
  PyBinding *binding = nb::inst_ptr<PyBinding>(self);
  Py_VISIT(binding->owner.ptr());
  for (const nb::object &object : binding->objects)
    Py_VISIT(object.ptr());
  return 0;
}

int clearBinding(PyObject *self) {
  PyBinding *binding = nb::inst_ptr<PyBinding>(self);
  binding->owner.reset();
  binding->objects.clear();
  return 0;
}

int traverseGraphNode(PyObject *self, visitproc visit, void *arg) {
  Py_VISIT(Py_TYPE(self));
  if (nb::inst_ready(self))
    Py_VISIT(nb::inst_ptr<PyGraphNode>(self)->binding.ptr());
  return 0;
}

int clearGraphNode(PyObject *self) {
  nb::inst_ptr<PyGraphNode>(self)->binding.reset();
  return 0;
}

PyType_Slot graphNodeSlots[] = {{Py_tp_traverse, (void *)traverseGraphNode},
                                {Py_tp_clear, (void *)clearGraphNode},
                                {0, nullptr}};
PyType_Slot stepSlots[] = {{Py_tp_traverse, (void *)traverseStep},
                           {Py_tp_clear, (void *)clearStep},
                           {0, nullptr}};
PyType_Slot bindingSlots[] = {{Py_tp_traverse, (void *)traverseBinding},
                              {Py_tp_clear, (void *)clearBinding},
                              {0, nullptr}};

/// A host kernel's address from a list of (name, address).
std::vector<nsa_host_kernel>
hostKernelsOf(const std::vector<std::pair<std::string, uintptr_t>> &pairs) {
  std::vector<nsa_host_kernel> kernels;
  for (const auto &[name, address] : pairs)
    kernels.push_back({name.c_str(), reinterpret_cast<nsa_host_fn>(address)});
  return kernels;
}

PyStep makeStep(const std::string &manifest, nb::object image,
                nb::object hostKernels, nb::object keep, nb::object simulator) {
  std::string_view bytes;
  if (nb::isinstance<nb::bytes>(image))
    bytes = {nb::borrow<nb::bytes>(image).c_str(),
             nb::borrow<nb::bytes>(image).size()};
  else if (nb::isinstance<nb::str>(image))
    bytes = nb::cast<const char *>(image);
  else if (!image.is_none())
    throw nb::type_error("argument 'image': expected str, bytes or None");
  std::vector<std::pair<std::string, uintptr_t>> pairs;
  if (!hostKernels.is_none())
    for (nb::handle pair : hostKernels)
      pairs.emplace_back(nb::cast<std::string>(pair[0]),
                         nb::cast<uintptr_t>(pair[1]));
  return PyStep(rt::Step(manifest, bytes, hostKernelsOf(pairs)),
                std::move(keep),
                simulator.is_none() ? nb::object() : std::move(simulator));
}

/// PTX as text, a cubin as bytes, None.
nb::object imageOf(const PyStep &self) {
  std::string_view image = self.step.image();
  if (image.empty())
    return nb::none();
  if (image.substr(0, 4) == "\x7f"
                            "ELF")
    return nb::bytes(image.data(), image.size());
  // Some writers count the terminating NUL in.
  while (!image.empty() && image.back() == '\0')
    image.remove_suffix(1);
  return nb::str(image.data(), image.size());
}

nb::list argumentsOf(const PyStep &self) {
  nb::list list;
  for (const nsa_argument_info &info : self.step.arguments()) {
    static constexpr const char *kinds[] = {"size", "in", "out"};
    list.append(
        nb::make_tuple(info.name, kinds[info.kind], info.dtype, info.ndim));
  }
  return list;
}

/// `directory` as os.fsencode has it.
nb::list loadBundle(nb::bytes directory) {
  nb::list list;
  for (rt::Step &step : rt::loadBundle({directory.c_str(), directory.size()}))
    list.append(nb::cast(PyStep(std::move(step))));
  return list;
}

nb::tuple arrayInfo(nb::handle object, const char *argument) {
  ImportedArray imported(object, argument, "an array");
  const nsa_array &array = imported.get();
  return nb::make_tuple(describeArray(array), array.device_type,
                        array.device_id);
}

} // namespace

NB_MODULE(_nsa_runtime, m) {
  m.doc() = "Loads and launches compiled steps; see the package nsa.";

#ifdef NDEBUG
  // Whoever leaks a step at exit is no concern of those who run the program.
  nb::set_leak_warnings(false);
#endif

  driverError = PyErr_NewExceptionWithDoc(
      "nsa.DriverError",
      "The machine lacks what a launch needs: no driver, no device, PTX that "
      "the driver does not support, no kernel for where the arrays are; or a "
      "driver call failed.",
      PyExc_RuntimeError, nullptr);
  m.attr("DriverError") = nb::borrow(driverError);
  nb::register_exception_translator([](const std::exception_ptr &pointer,
                                       void *) {
    try {
      std::rethrow_exception(pointer);
    } catch (const rt::Error &error) {
      setError(exceptionFor(error.status()), error.what(), error.argument());
    }
  });

  nb::class_<PyGraphNode>(
      m, "GraphNode", nb::type_slots(graphNodeSlots),
      "A step in a CUDA graph that it was captured in: `Binding.capture` makes "
      "one. Keeps the binding alive, not the graph, which has to outlive the "
      "updates.")
      .def_prop_ro(
          "binding", [](PyGraphNode &self) { return self.binding; },
          "The one that was captured.");

  nb::class_<PyBinding>(m, "Binding", nb::type_slots(bindingSlots),
                        "A step with its arrays, checked and ready to launch. "
                        "Keeps the arrays alive.")
      // Without names of its own: whatever an argument of a step is called, as
      // "self", it is the step's.
      .def("launch", &PyBinding::launch,
           nb::sig("def launch(self, /, *, stream: object | None = None, "
                   "**sizes) -> None"),
           "Launches the step. Size arguments that are left out keep the value "
           "of bind time. `stream` is an int or an object with `cuda_stream`, "
           "`ptr` or `__cuda_stream__`; by default the current stream of the "
           "arrays' producer. Nothing is allocated or synchronised, so this is "
           "legal while a CUDA graph is captured. Raises ValueError or "
           "TypeError before anything is launched.")
      .def(
          "capture",
          [](nb::handle_t<PyBinding> self, nb::kwargs kwargs) {
            return nb::inst_ptr<PyBinding>(self)->capture(self, kwargs);
          },
          nb::sig("def capture(self, /, *, stream: object | None = None, "
                  "**sizes) -> GraphNode"),
          "Launches the step, as `launch` does, on a stream that is being "
          "captured, and returns its place in the graph, for `update`. The "
          "sizes have to give each of its kernels something to do: the "
          "greatest ones that are to come. Raises ValueError if the stream is "
          "not being captured, DriverError for a driver before CUDA 12.3.")
      .def("update", &PyBinding::update,
           nb::sig("def update(self, node: GraphNode, graph: object, /, "
                   "**sizes) -> None"),
           "Gives a captured step other sizes, and the arrays of this binding, "
           "the one that was captured or another one of its step, without "
           "another capture. `graph` is what was instantiated from the "
           "captured graph: a CUgraphExec as an int, torch's `CUDAGraph` (made "
           "with `keep_graph=True`) or CuPy's `Graph`. What is launched of it "
           "from now on has them; replays before keep theirs. Whoever captured "
           "keeps the arrays alive. Raises ValueError or TypeError, as "
           "`launch` does, and leaves the graph as it is then.")
      .def_prop_ro("step", [](PyBinding &self) { return self.owner; });

  nb::class_<PyStep>(m, "Step", nb::type_slots(stepSlots),
                     "One compiled step. Call it with its arguments by name, "
                     "or bind arrays once and launch often.")
      .def(
          "__init__",
          [](PyStep *self, const std::string &manifest, nb::object image,
             nb::object hostKernels, nb::object keep, nb::object simulator) {
            new (self)
                PyStep(makeStep(manifest, image, hostKernels, keep, simulator));
          },
          "manifest"_a, "image"_a.none() = nb::none(),
          "host_kernels"_a.none() = nb::none(), "keep"_a.none() = nb::none(),
          "simulator"_a.none() = nb::none(),
          "Makes a step from its manifest (JSON text), PTX (str) or a cubin "
          "(bytes), and host kernels as (name, address) pairs; `keep` is held "
          "as long as the step is. `simulator` is called with what each launch "
          "would do, instead of launching (nsa.simt).")
      .def(
          "__call__", &PyStep::call,
          nb::sig("def __call__(self, /, *, stream: object | None = None, "
                  "**arguments) -> None"),
          "Checks the arguments and launches. Arrays are anything with DLPack, "
          "all on one device, which decides between PTX and host kernels. "
          "Sizes that are left out take those of the dimensions that name "
          "them. Raises ValueError or TypeError that names the argument, what "
          "was expected and what came; nothing is launched or written then.")
      .def(
          "bind",
          [](nb::handle_t<PyStep> self, nb::kwargs kwargs) {
            const PyStep &step = nb::cast<const PyStep &>(self);
            return new PyBinding(nb::borrow(self), step,
                                 CallArguments(step, kwargs));
          },
          nb::sig("def bind(self, /, **arguments) -> Binding"),
          "Checks the arrays once. Sizes may be given here, or at launch.")
      .def(
          "load", [](PyStep &self, int device) { self.step.load(device); },
          "device"_a = 0, "Loads the kernels on a CUDA device ahead of time.")
      .def(
          "check", &PyStep::check,
          "Whether the kernels of this step, which was compiled with guards, "
          "made a wrong access since the last check: raises AccessError with "
          "the operation and its place in the text, the argument, index, "
          "bound, block and thread of the first one, and how many there were. "
          "The accesses were skipped, and are forgotten once they are told of. "
          "An element that goes to a computed place where another one of the "
          "launch has gone is a wrong access, too. Returns how many elements "
          "of computed places were not looked at, as there were too many of "
          "them, or two launches ran at once. "
          "Waits for all work of the step's devices, so it is not for every "
          "launch, and not while a graph is captured; replays of a captured "
          "launch are checked like launches. Steps of the same kernels share "
          "what is recorded. Raises ValueError for a step without guards.")
      .def_prop_ro("name", [](PyStep &self) { return self.step.name(); })
      .def_prop_ro(
          "chip", [](PyStep &self) { return self.step.chip(); },
          "The GPU that it was compiled for, as in 'sm_80'.")
      .def_prop_ro(
          "manifest", [](PyStep &self) { return self.step.manifest(); },
          "The manifest, JSON text as docs/Bundle.md describes it.")
      .def_prop_ro("ptx", &imageOf, "PTX (str), a cubin (bytes), or None.")
      .def_prop_ro(
          "kernels", [](PyStep &self) { return self.step.kernels(); },
          "The names of its kernels, in the order of their launches.")
      .def_prop_ro("arguments", &argumentsOf,
                   "Its arguments in order, as (name, kind, dtype, rank).")
      .def_prop_ro(
          "simulates", [](PyStep &self) { return self.simulator.is_valid(); },
          "Whether launches are run by the simulator, nsa.simt.")
      .def_prop_ro("runs_on_host",
                   [](PyStep &self) { return self.step.hasHostKernels(); });

  nb::class_<Caller>(m, "Caller",
                     "A step called with arrays in a fixed order, whose checks "
                     "are remembered by what the arrays are.")
      .def(
          nb::init<nb::object, nb::tuple, nb::tuple>(), "prepare"_a, "arrays"_a,
          "sizes"_a,
          "`prepare` takes a target and what each array is, (dtype code, dtype "
          "bits, shape), and returns a Step and a dict of sizes that calls "
          "leave out; `arrays` and `sizes` are names of arguments.")
      .def(
          "__call__",
          [](Caller &self, nb::list arrays, nb::tuple sizes,
             nb::object stream) {
            Objects objects;
            for (size_t i = 0, e = arrays.size(); i != e; ++i)
              objects.push_back(NB_LIST_GET_ITEM(arrays.ptr(), (Py_ssize_t)i));
            self.call(objects, sizes, stream);
          },
          "arrays"_a, "sizes"_a, "stream"_a.none() = nb::none(),
          "Checks what is new and launches. A size may be None: the prepared "
          "one, or that of the dimensions that name it.");

  nb::class_<SetCaller>(m, "SetCaller",
                        "An operation over sets of fields, whose step is "
                        "remembered by constants and names.")
      .def(nb::init<nb::object>(), "make"_a,
           "`make` takes the constants and a tuple of names for each set, and "
           "returns a Caller, or a function of its arguments, and which arrays "
           "that takes, by their places among the inputs and then the values "
           "of all sets.")
      .def("call", &SetCaller::call, "constants"_a, "inputs"_a, "sets"_a,
           "sizes"_a, "stream"_a.none(),
           "Launches. `sets` are dicts of names and arrays, `inputs` a tuple of "
           "arrays or a set before the others, `sizes` what the Caller takes.")
      .def("forget", &SetCaller::forget, "Forgets what was made.");

  nb::class_<CallPlans>(m, "CallPlans",
                        "Several calls as one launch, which is remembered by "
                        "what they are.")
      .def(nb::init<nb::object, nb::object>(), "make"_a, "as_bytes"_a,
           "`make` takes functions, which are functools.partial objects, the "
           "arrays among their arguments, each once, and a number or None. It "
           "returns None if they have to be called, or a Caller, the places of "
           "the arrays that it takes, which of these are to be given as bytes, "
           "as `as_bytes` makes them, its sizes, and pairs of the place of a "
           "size and the number that it is: of the functions' integers that are "
           "called num_*, and the one more.")
      .def("launch", &CallPlans::launch, "functions"_a, "number"_a.none(),
           "stream"_a.none(),
           "Launches, or returns False if the functions have to be called.");

  registerPlan(m);
  m.def("load_bundle", &loadBundle, "directory"_a,
        "The steps of a saved bundle, whose path is bytes, in the order of "
        "their names.");
  m.def("device_count", &rt::deviceCount,
        "How many CUDA devices there are. Raises DriverError if the driver or "
        "a device is missing.");
  m.def("check_target", &rt::checkTarget, "target"_a,
        "Raises DriverError if NSA_TARGET excludes the target.");
  m.def("array_info", &arrayInfo, "array"_a, "argument"_a,
        "((dtype code, dtype bits, shape), device type, device id), as DLPack "
        "has them; `argument` is its name in messages.");
  m.attr("manifest_schema") = nsa_manifest_schema();
}
