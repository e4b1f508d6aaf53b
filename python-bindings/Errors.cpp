//===- Errors.cpp - Exceptions that Python gets ---------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Errors.h"

namespace nb = nanobind;
using namespace nsa::python;

nb::object nsa::python::textOf(std::string_view bytes) {
  PyObject *text = PyUnicode_DecodeUTF8(
      bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "surrogateescape");
  if (!text)
    throw nb::python_error();
  return nb::steal(text);
}

std::string nsa::python::bytesOf(nb::handle object) {
  nb::object text = nb::steal(PyObject_Str(object.ptr()));
  if (!text.is_valid())
    throw nb::python_error();
  auto bytes = nb::steal<nb::bytes>(
      PyUnicode_AsEncodedString(text.ptr(), "utf-8", "backslashreplace"));
  if (!bytes.is_valid())
    throw nb::python_error();
  return {bytes.c_str(), bytes.size()};
}

std::string nsa::python::typeNameOf(nb::handle object) {
  // Called while an error is about to become another one.
  nb::error_scope scope;
  return bytesOf(object.type().attr("__name__"));
}

const char *nsa::python::utf8Of(nb::handle name) {
  const char *text = PyUnicode_AsUTF8AndSize(name.ptr(), nullptr);
  if (!text)
    throw nb::python_error();
  return text;
}

/// Takes the exception that is set, with what belongs to it.
static nb::object takeError() {
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  if (traceback)
    PyException_SetTraceback(value, traceback);
  Py_XDECREF(type);
  Py_XDECREF(traceback);
  return nb::steal(value);
}

void nsa::python::setError(PyObject *type, std::string_view message,
                           std::string_view argument) {
  nb::object cause;
  if (PyErr_Occurred())
    cause = takeError();
  nb::object error = nb::handle(type)(textOf(message));
  error.attr("argument") = argument.empty() ? nb::none() : textOf(argument);
  if (cause.is_valid())
    PyException_SetCause(error.ptr(), cause.release().ptr());
  PyErr_SetObject(type, error.ptr());
}

void nsa::python::raiseFor(PyObject *type, std::string_view argument,
                           std::string_view message) {
  std::string text = "argument '";
  text.append(argument).append("': ").append(message);
  setError(type, text, argument);
  throw nb::python_error();
}

bool nsa::python::isRefusal() {
  // A full stack is a RuntimeError too.
  if (PyErr_ExceptionMatches(PyExc_RecursionError))
    return false;
  for (PyObject *type : {PyExc_BufferError, PyExc_TypeError, PyExc_ValueError,
                         PyExc_RuntimeError, PyExc_AttributeError})
    if (PyErr_ExceptionMatches(type))
      return true;
  return false;
}

nb::object nsa::python::getOptional(nb::handle object, const char *name) {
  PyObject *found = PyObject_GetAttrString(object.ptr(), name);
  if (!found) {
    if (!isRefusal())
      throw nb::python_error();
    PyErr_Clear();
  }
  return nb::steal(found);
}
