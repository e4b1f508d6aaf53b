//===- Steps.cpp - Steps and bindings as Python sees them -----------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Steps.h"
#include "Errors.h"

namespace nb = nanobind;
using namespace nsa::python;

int64_t nsa::python::integerOf(nb::handle value, const char *argument,
                               const char *range) {
  nb::object index = PyLong_CheckExact(value.ptr())
                         ? nb::borrow(value)
                         : nb::steal(PyNumber_Index(value.ptr()));
  if (!index.is_valid()) {
    if (!PyErr_ExceptionMatches(PyExc_TypeError))
      throw nb::python_error();
    raiseFor(PyExc_TypeError, argument,
             std::string("expected an integer but got ") + typeNameOf(value));
  }
  int overflow;
  long long integer = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  // NSA_SIZE_AS_BOUND is no number that a caller may give.
  if (overflow || integer == NSA_SIZE_AS_BOUND)
    raiseFor(PyExc_ValueError, argument,
             std::string("expected ") + range + " but got " + bytesOf(index));
  return integer;
}

int64_t nsa::python::sizeOf(nb::handle value, const char *argument) {
  return integerOf(value, argument, "a size from 0 to 2147483647");
}

/// Throws if an argument of a step is called as the stream of every call is:
/// who gives one would give the other.
static void refuseStream(nb::handle argument) {
  if (PyUnicode_CompareWithASCIIString(argument.ptr(), "stream") == 0)
    raiseFor(PyExc_TypeError, "stream",
             "the step has a port of that name, which every call has for the "
             "CUDA stream: bind the port, or compile the step with another "
             "name of it");
}

PyStep::PyStep(runtime::Step made, nb::object keep, nb::object simulator)
    : step(std::move(made)), keep(std::move(keep)),
      simulator(std::move(simulator)) {
  for (const nsa_argument_info &info : step.arguments()) {
    nb::object name = nb::steal(PyUnicode_InternFromString(info.name));
    bool isArray = info.kind != NSA_KIND_SIZE;
    if (!isArray)
      sizeNames.push_back(name);
    arguments.push_back(
        {std::move(name), isArray, info.kind == NSA_KIND_OUT,
         info.is_optional != 0, info.ndim,
         "a " + std::to_string(info.ndim) + "-d " + info.dtype + " array"});
  }
}

nsa::runtime::Binding
PyStep::bind(const std::vector<nsa_argument> &values) const {
  if (!simulator.is_valid())
    return step.bind(values);
  runtime::checkTarget("simt");
  runtime::Binding binding = step.checkArguments(values);
  if (binding.isCuda())
    throw runtime::Error(NSA_NO_KERNEL,
                         (std::string("step '") + step.name() +
                          "' is simulated, but its arrays are on a GPU")
                             .c_str());
  return binding;
}

void PyStep::launch(runtime::Binding &binding, const int64_t *sizes,
                    void *stream) const {
  if (!simulator.is_valid()) {
    runtime::check(nsa_binding_launch(binding.get(), sizes, stream));
    return;
  }
  binding.prepare(sizes);
  nb::list kernels, arrays;
  for (size_t i = 0, e = step.kernels().size(); i != e; ++i) {
    nsa_kernel_launch kernel = binding.kernel(i);
    nb::list parameters;
    for (size_t p = 0; p != kernel.num_parameters; ++p)
      parameters.append(kernel.parameters[p]);
    kernels.append(nb::make_tuple(kernel.name, kernel.blocks, parameters));
  }
  for (size_t i = 0, e = arguments.size(); i != e; ++i) {
    if (!arguments[i].isArray)
      continue;
    nsa_array array = binding.array(i);
    nb::list shape, strides;
    for (int32_t d = 0; d != array.ndim; ++d) {
      shape.append(array.shape[d]);
      strides.append(array.strides[d]);
    }
    arrays.append(nb::make_tuple(arguments[i].name,
                                 reinterpret_cast<uintptr_t>(array.data),
                                 array.dtype_bits / 8, shape, strides));
  }
  simulator(kernels, arrays);
}

const PyStep::Argument *PyStep::find(nb::handle name) const {
  for (const Argument &argument : arguments)
    if (argument.name.ptr() == name.ptr())
      return &argument;
  // Names out of a dict that was made by hand need not be interned.
  for (const Argument &argument : arguments)
    if (PyUnicode_Compare(argument.name.ptr(), name.ptr()) == 0)
      return &argument;
  return nullptr;
}

/// Takes the stream out of the arguments of a call; None if there is none.
static nb::object takeStream(const nb::kwargs &kwargs) {
  static PyObject *name = PyUnicode_InternFromString("stream");
  nb::object stream = nb::borrow(PyDict_GetItemWithError(kwargs.ptr(), name));
  if (stream.is_valid() && PyDict_DelItem(kwargs.ptr(), name) == 0)
    return stream;
  if (PyErr_Occurred())
    throw nb::python_error();
  return nb::none();
}

void PyStep::call(nb::kwargs kwargs) {
  for (const Argument &argument : arguments)
    refuseStream(argument.name);
  nb::object stream = takeStream(kwargs);
  CallArguments arguments(*this, kwargs);
  void *raw =
      !stream.is_none() ? streamOf(stream) : arguments.streamSource().current();
  if (simulator.is_valid()) {
    runtime::Binding binding = bind(arguments.values);
    launch(binding, nullptr, raw);
    return;
  }
  step.launch(arguments.values, raw);
}

/// nsa.Access of one.
static nb::object toPython(const nsa_access &access,
                           const nb::module_ &module) {
  nb::object block = nb::none(), thread = nb::none();
  if (access.block >= 0) {
    block = nb::int_(access.block);
    thread = nb::int_(access.thread);
  }
  const char *kind = access.is_taken   ? "duplicate"
                     : access.is_store ? "store"
                                       : "load";
  nb::object row = nb::none();
  if (access.row >= 0)
    row = nb::int_(access.row);
  return module.attr("Access")(kind, access.op, textOf(access.location),
                               access.argument, access.dim, access.index,
                               access.bound, access.kernel, block, thread, row);
}

uint64_t PyStep::check() const {
  std::vector<nsa_access> accesses(1024);
  size_t known = 0;
  uint64_t count = 0, unclaimed = 0;
  nsa_status status;
  if (simulator.is_valid()) {
    auto records = nb::cast<nb::bytes>(simulator.attr("take_records")());
    status = nsa_step_check_records(step.get(), records.c_str(), records.size(),
                                    accesses.data(), accesses.size(), &known,
                                    &count, &unclaimed);
  } else {
    nb::gil_scoped_release release;
    status =
        nsa_step_check_accesses(step.get(), accesses.data(), accesses.size(),
                                &known, &count, &unclaimed);
  }
  if (status != NSA_WRONG_ACCESS) {
    runtime::check(status);
    return unclaimed;
  }
  nb::object message = textOf(nsa_last_error());
  nb::module_ module = nb::module_::import_("nsa._accesses");
  nb::list list;
  for (size_t i = 0; i != known; ++i)
    list.append(toPython(accesses[i], module));
  nb::object type = module.attr("AccessError");
  nb::object error = type(message, nb::tuple(list), count, unclaimed);
  PyErr_SetObject(type.ptr(), error.ptr());
  throw nb::python_error();
}

CallArguments::CallArguments(const PyStep &step, const nb::kwargs &kwargs) {
  // `values` points into it.
  arrays.reserve(kwargs.size());
  values.reserve(kwargs.size());
  for (auto [key, value] : kwargs) {
    const PyStep::Argument *argument = step.find(key);
    const char *name = utf8Of(key);
    if (!argument) {
      // The runtime says what is wrong with it.
      values.push_back({name, nullptr, 0});
    } else if (argument->isOptional && value.is_none()) {
      continue; // as if it were not given
    } else if (argument->isArray) {
      arrays.emplace_back(value, name, argument->expected);
      if (argument->isOutput)
        arrays.back().checkDestination(value, name);
      objects.push_back(nb::borrow(value));
      values.push_back({name, &arrays.back().get(), 0});
    } else {
      values.push_back({name, nullptr, sizeOf(value, name)});
    }
  }
}

StreamSource CallArguments::streamSource() const {
  for (size_t i = 0, e = arrays.size(); i != e; ++i) {
    const nsa_array &array = arrays[i].get();
    if (array.device_type != NSA_DEVICE_CUDA &&
        array.device_type != NSA_DEVICE_CUDA_MANAGED)
      break;
    if (StreamSource source(objects[i], array.device_id); source)
      return source;
  }
  return StreamSource();
}

PyBinding::PyBinding(nb::object owner, const PyStep &step,
                     CallArguments arguments)
    : owner(std::move(owner)), binding(step.bind(arguments.values)),
      sizeNames(step.sizeNames), source(arguments.streamSource()),
      arrays(std::move(arguments.arrays)) {
  objects = std::move(arguments.objects);
}

size_t PyBinding::placeOf(PyObject *name) const {
  size_t count = sizeNames.size();
  for (size_t i = 0; i != count; ++i)
    if (sizeNames[i].ptr() == name)
      return i;
  for (size_t i = 0; i != count; ++i)
    if (PyUnicode_Compare(sizeNames[i].ptr(), name) == 0)
      return i;
  raiseFor(PyExc_TypeError, utf8Of(name), "not a size argument of this step");
}

void PyBinding::takeSizes(const nb::kwargs &kwargs, Sizes &sizes) const {
  sizes.assign(sizeNames.size(), NSA_SIZE_AS_BOUND);
  PyObject *key, *value;
  Py_ssize_t at = 0;
  while (PyDict_Next(kwargs.ptr(), &at, &key, &value)) {
    size_t place = placeOf(key);
    sizes[place] = sizeOf(value, utf8Of(key));
  }
}

void *PyBinding::takeCall(const nb::kwargs &kwargs, Sizes &sizes) const {
  nb::object stream = takeStream(kwargs);
  if (!stream.is_none())
    for (const nb::object &name : sizeNames)
      refuseStream(name);
  void *raw = !stream.is_none() ? streamOf(stream) : source.current();
  takeSizes(kwargs, sizes);
  return raw;
}

void PyBinding::launch(nb::kwargs kwargs) {
  Sizes sizes;
  void *stream = takeCall(kwargs, sizes);
  nb::cast<const PyStep &>(owner).launch(binding, sizes.data(), stream);
}

PyGraphNode PyBinding::capture(nb::handle self, nb::kwargs kwargs) {
  Sizes sizes;
  void *stream = takeCall(kwargs, sizes);
  return {binding.capture(sizes.data(), stream), nb::borrow(self)};
}

void PyBinding::update(const PyGraphNode &node, nb::handle graph,
                       nb::kwargs kwargs) {
  Sizes sizes;
  takeSizes(kwargs, sizes);
  binding.update(node.node, graphExecOf(graph), sizes.data());
}
