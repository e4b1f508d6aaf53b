//===- Arrays.cpp - Arrays that come from Python --------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Arrays.h"

#include <cstring>

namespace nb = nanobind;
using namespace nsa::python;

namespace {

constexpr uint32_t dlpackMajor = 1;

/// Raises `type` with "argument 'NAME': ..." in place of the current error,
/// whose text is appended.
[[noreturn]] void raiseFor(PyObject *type, const char *argument,
                           const std::string &message) {
  std::string cause;
  if (PyErr_Occurred()) {
    nb::python_error error;
    nb::object value = nb::borrow(error.value());
    cause = std::string(": ") + nb::str(value).c_str();
  }
  PyErr_Format(type, "argument '%s': %s%s", argument, message.c_str(),
               cause.c_str());
  throw nb::python_error();
}

bool hasAttr(nb::handle object, const char *name) {
  return PyObject_HasAttrString(object.ptr(), name);
}

/// The DLPack code of a buffer's format character; false if it has none.
bool codeOf(char format, uint8_t &code) {
  switch (format) {
  case 'b':
  case 'h':
  case 'i':
  case 'l':
  case 'q':
  case 'n':
    code = NSA_DTYPE_INT;
    return true;
  case 'B':
  case 'H':
  case 'I':
  case 'L':
  case 'Q':
  case 'N':
    code = NSA_DTYPE_UINT;
    return true;
  case 'e':
  case 'f':
  case 'd':
    code = NSA_DTYPE_FLOAT;
    return true;
  case '?':
    code = NSA_DTYPE_BOOL;
    return true;
  default:
    return false;
  }
}

} // namespace

const dlpack::ExchangeApi *nsa::python::exchangeApiOf(PyTypeObject *type) {
  // On the type, not on the instance; found through its bases.
  static PyObject *name =
      PyUnicode_InternFromString("__dlpack_c_exchange_api__");
  PyObject *found = _PyType_Lookup(type, name);
  constexpr const char *capsuleName = "dlpack_exchange_api";
  if (!found || !PyCapsule_IsValid(found, capsuleName))
    return nullptr;
  auto *api = static_cast<const dlpack::ExchangeApi *>(
      PyCapsule_GetPointer(found, capsuleName));
  while (api && api->version.major != dlpackMajor)
    api = api->previous;
  return api && api->fromObject ? api : nullptr;
}

ImportedArray::ImportedArray(nb::handle object, const char *argument,
                             const std::string &expected) {
  std::string got = Py_TYPE(object.ptr())->tp_name;
  bool supported = exchangeApiOf(Py_TYPE(object.ptr())) ||
                   PyObject_CheckBuffer(object.ptr()) ||
                   hasAttr(object, "__dlpack__");
  if (!supported)
    raiseFor(PyExc_TypeError, argument,
             "expected " + expected + " but got " + got);
  if (!importExchange(object) && !importBuffer(object) &&
      !importCapsule(object))
    raiseFor(PyExc_ValueError, argument,
             "expected " + expected + " but got " + got +
                 " that cannot be exported");
}

ImportedArray::ImportedArray(ImportedArray &&other) noexcept
    : array(other.array), managed(other.managed), legacy(other.legacy),
      buffer(other.buffer), shape(std::move(other.shape)),
      strides(std::move(other.strides)) {
  other.managed = nullptr;
  other.legacy = nullptr;
  other.buffer = nullptr;
}

void ImportedArray::release() {
  if (managed && managed->deleter)
    managed->deleter(managed);
  if (legacy && legacy->deleter)
    legacy->deleter(legacy);
  if (buffer) {
    PyBuffer_Release(buffer);
    delete buffer;
  }
}

void ImportedArray::describe(const dlpack::Tensor &tensor, bool readOnly) {
  array.data = tensor.data
                   ? static_cast<char *>(tensor.data) + tensor.byteOffset
                   : nullptr;
  array.device_type = tensor.device.type;
  array.device_id = tensor.device.id;
  array.dtype_code = tensor.dtype.code;
  // Vector elements are of no type that a step has: 0 bits match none.
  array.dtype_bits = tensor.dtype.lanes == 1 ? tensor.dtype.bits : 0;
  array.flags = readOnly ? NSA_ARRAY_READ_ONLY : 0;
  array.ndim = tensor.ndim;
  array.shape = tensor.shape;
  array.strides = tensor.strides;
}

bool ImportedArray::importExchange(nb::handle object) {
  const dlpack::ExchangeApi *api = exchangeApiOf(Py_TYPE(object.ptr()));
  if (!api)
    return false;
  if (api->fromObject(object.ptr(), &managed) != 0) {
    managed = nullptr;
    return false;
  }
  describe(managed->tensor, managed->flags & dlpack::flagReadOnly);
  return true;
}

bool ImportedArray::importBuffer(nb::handle object) {
  if (PyErr_Occurred() || !PyObject_CheckBuffer(object.ptr()))
    return false;
  buffer = new Py_buffer();
  if (PyObject_GetBuffer(object.ptr(), buffer, PyBUF_RECORDS_RO) != 0) {
    delete buffer;
    buffer = nullptr;
    // Types that buffers cannot name may still have DLPack.
    PyErr_Clear();
    return false;
  }
  const char *format = buffer->format ? buffer->format : "B";
  if (*format == '@' || *format == '=' || *format == '<')
    ++format;
  bool usable = std::strlen(format) == 1 && codeOf(*format, array.dtype_code) &&
                buffer->itemsize <= 16;
  for (int i = 0; usable && i != buffer->ndim; ++i) {
    usable = buffer->strides[i] % buffer->itemsize == 0;
    shape.push_back(buffer->shape[i]);
    strides.push_back(buffer->strides[i] / buffer->itemsize);
  }
  if (!usable) {
    PyBuffer_Release(buffer);
    delete buffer;
    buffer = nullptr;
    shape.clear();
    strides.clear();
    return false;
  }
  array.data = buffer->buf;
  array.device_type = NSA_DEVICE_CPU;
  array.dtype_bits = static_cast<uint8_t>(8 * buffer->itemsize);
  array.flags = buffer->readonly ? NSA_ARRAY_READ_ONLY : 0;
  array.ndim = buffer->ndim;
  array.shape = shape.data();
  array.strides = strides.data();
  return true;
}

bool ImportedArray::importCapsule(nb::handle object) {
  if (PyErr_Occurred() || !hasAttr(object, "__dlpack__"))
    return false;
  try {
    nb::object function = object.attr("__dlpack__");
    nb::dict kwargs;
    kwargs["max_version"] = nb::make_tuple(dlpackMajor, 1);
    // -1: no synchronisation with the producer's stream. The launch is on that
    // stream, or where the caller says. CPU producers want to hear of no
    // stream.
    nb::object device = object.attr("__dlpack_device__")();
    if (nb::cast<int>(device[0]) != NSA_DEVICE_CPU)
      kwargs["stream"] = -1;
    nb::object capsule;
    while (!capsule.is_valid()) {
      try {
        capsule = function(**kwargs);
      } catch (nb::python_error &error) {
        // Producers older than DLPack 1.0 know of no version; some (JAX) take
        // -1 for a stream and fail on it.
        const char *key =
            error.matches(PyExc_TypeError) ? "max_version" : "stream";
        if (!kwargs.contains(key))
          throw;
        nb::del(kwargs[key]);
      }
    }
    PyObject *raw = capsule.ptr();
    if (PyCapsule_IsValid(raw, "dltensor_versioned")) {
      auto *tensor = static_cast<dlpack::ManagedTensor *>(
          PyCapsule_GetPointer(raw, "dltensor_versioned"));
      if (tensor->version.major != dlpackMajor)
        return false; // the capsule releases it
      managed = tensor;
      PyCapsule_SetName(raw, "used_dltensor_versioned");
      describe(managed->tensor, managed->flags & dlpack::flagReadOnly);
      return true;
    }
    if (PyCapsule_IsValid(raw, "dltensor")) {
      legacy = static_cast<dlpack::LegacyManagedTensor *>(
          PyCapsule_GetPointer(raw, "dltensor"));
      PyCapsule_SetName(raw, "used_dltensor");
      describe(legacy->tensor, /*readOnly=*/false);
      return true;
    }
    return false;
  } catch (nb::python_error &error) {
    error.restore();
    return false;
  } catch (nb::cast_error &) {
    return false;
  }
}

nb::tuple nsa::python::describeArray(const nsa_array &array) {
  nb::list shape;
  for (int32_t i = 0; i != array.ndim; ++i)
    shape.append(array.shape[i]);
  return nb::make_tuple(array.dtype_code, array.dtype_bits, nb::tuple(shape));
}
