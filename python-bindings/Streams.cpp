//===- Streams.cpp - CUDA streams that come from Python -------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Streams.h"
#include "Arrays.h"

#include <string_view>

namespace nb = nanobind;
using namespace nsa::python;

/// An attribute, or null without an error set.
static nb::object getOptional(nb::handle object, const char *name) {
  PyObject *found = PyObject_GetAttrString(object.ptr(), name);
  if (!found)
    PyErr_Clear();
  return nb::steal(found);
}

static void *streamOfInt(nb::handle value) {
  void *stream = PyLong_AsVoidPtr(value.ptr());
  if (PyErr_Occurred())
    throw nb::python_error();
  return stream;
}

void *nsa::python::streamOf(nb::handle stream) {
  if (PyLong_Check(stream.ptr()))
    return streamOfInt(stream);
  for (const char *name : {"cuda_stream", "ptr"})
    if (nb::object value = getOptional(stream, name);
        value.is_valid() && PyLong_Check(value.ptr()))
      return streamOfInt(value);
  // The protocol: a method that returns (version, address).
  if (nb::object method = getOptional(stream, "__cuda_stream__");
      method.is_valid()) {
    nb::object pair = PyCallable_Check(method.ptr()) ? method() : method;
    return streamOfInt(nb::object(pair[1]));
  }
  PyErr_Format(PyExc_TypeError,
               "argument 'stream': expected an int, or an object with "
               "cuda_stream, ptr or __cuda_stream__, but got %s",
               Py_TYPE(stream.ptr())->tp_name);
  throw nb::python_error();
}

StreamSource::StreamSource(nb::handle array, int device) : device(device) {
  PyTypeObject *type = Py_TYPE(array.ptr());
  api = exchangeApiOf(type);
  if (api && !api->currentStream)
    api = nullptr;
  if (api)
    return;

  nb::object module = getOptional(nb::handle((PyObject *)type), "__module__");
  if (!module.is_valid() || !PyUnicode_Check(module.ptr()))
    return;
  std::string_view name = nb::cast<const char *>(module);
  auto isIn = [&](std::string_view package) {
    return name.substr(0, package.size()) == package &&
           (name.size() == package.size() || name[package.size()] == '.');
  };
  // Whoever made the array has been imported: nothing is imported here that is
  // not there already.
  if (isIn("torch")) {
    nb::object torch = nb::module_::import_("torch");
    // What torch.cuda.current_stream() calls, without making a Stream.
    function = getOptional(torch.attr("_C"), "_cuda_getCurrentRawStream");
    if (!function.is_valid())
      function = torch.attr("cuda").attr("current_stream");
    takesDevice = true;
  } else if (isIn("cupy") || isIn("cupy_backends")) {
    function =
        nb::module_::import_("cupy").attr("cuda").attr("get_current_stream");
  }
}

void *StreamSource::current() const {
  if (api) {
    void *stream = nullptr;
    if (api->currentStream(2 /*kDLCUDA*/, device, &stream) != 0) {
      if (PyErr_Occurred())
        throw nb::python_error();
      return nullptr;
    }
    return stream;
  }
  if (!function.is_valid())
    return nullptr;
  return streamOf(takesDevice ? function(device) : function());
}
