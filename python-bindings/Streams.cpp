//===- Streams.cpp - CUDA streams that come from Python -------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Streams.h"
#include "Arrays.h"
#include "Errors.h"

namespace nb = nanobind;
using namespace nsa::python;

static void *addressOf(nb::handle value) {
  void *stream = PyLong_AsVoidPtr(value.ptr());
  if (PyErr_Occurred())
    throw nb::python_error();
  return stream;
}

void *nsa::python::streamOf(nb::handle stream) {
  if (PyLong_Check(stream.ptr()))
    return addressOf(stream);
  for (const char *name : {"cuda_stream", "ptr"})
    if (nb::object value = getOptional(stream, name);
        value.is_valid() && PyLong_Check(value.ptr()))
      return addressOf(value);
  // The protocol: a method that returns (version, address).
  if (nb::object method = getOptional(stream, "__cuda_stream__");
      method.is_valid()) {
    nb::object pair = PyCallable_Check(method.ptr()) ? method() : method;
    return addressOf(nb::object(pair[1]));
  }
  raiseFor(PyExc_TypeError, "stream",
           std::string("expected an int, or an object with cuda_stream, ptr or "
                       "__cuda_stream__, but got ") +
               typeNameOf(stream));
}

void *nsa::python::graphExecOf(nb::handle graph) {
  if (PyLong_Check(graph.ptr()))
    return addressOf(graph);
  if (nb::object method = getOptional(graph, "raw_cuda_graph_exec");
      method.is_valid())
    return addressOf(nb::object(method()));
  if (nb::object value = getOptional(graph, "graphExec");
      value.is_valid() && PyLong_Check(value.ptr()))
    return addressOf(value);
  raiseFor(PyExc_TypeError, "graph",
           std::string("expected an int, or an object with "
                       "raw_cuda_graph_exec or graphExec, but got ") +
               typeNameOf(graph));
}

StreamSource::StreamSource(nb::handle array, int device) : device(device) {
  PyTypeObject *type = Py_TYPE(array.ptr());
  api = exchangeApiOf(type);
  if (api && !api->currentStream)
    api = nullptr;
  if (api)
    return;

  // Whoever made the array has been imported: nothing is imported here that is
  // not there already.
  if (isOfPackage(type, "torch")) {
    nb::object torch = nb::module_::import_("torch");
    // What torch.cuda.current_stream() calls, without making a Stream.
    function = getOptional(torch.attr("_C"), "_cuda_getCurrentRawStream");
    if (!function.is_valid())
      function = torch.attr("cuda").attr("current_stream");
    takesDevice = true;
  } else if (isOfPackage(type, "cupy") || isOfPackage(type, "cupy_backends")) {
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
