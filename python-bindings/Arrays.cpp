//===- Arrays.cpp - Arrays that come from Python --------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Arrays.h"
#include "Errors.h"

#include <cstring>

namespace nb = nanobind;
using namespace nsa::python;

namespace {

constexpr uint32_t dlpackMajor = 1;

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
  static PyObject *name = PyUnicode_InternFromString(exchangeApiName);
#ifdef Py_LIMITED_API
  // Whoever holds the type holds what is found.
  nb::object owner = nb::steal(PyObject_GetAttr((PyObject *)type, name));
  PyObject *found = owner.ptr();
  if (!found)
    PyErr_Clear();
#else
  PyObject *found = _PyType_Lookup(type, name);
#endif
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
  bool supported = exchangeApiOf(Py_TYPE(object.ptr())) ||
                   PyObject_CheckBuffer(object.ptr()) ||
                   getOptional(object, "__dlpack__").is_valid();
  if (!supported)
    raiseFor(PyExc_TypeError, argument,
             "expected " + expected + " but got " + typeNameOf(object));
  if (importExchange(object) || importBuffer(object) || importCapsule(object))
    return;
  std::string message = "expected " + expected + " but got " +
                        typeNameOf(object) + " that cannot be exported";
  if (PyErr_Occurred()) {
    if (!isRefusal())
      throw nb::python_error();
    nb::python_error error;
    message += ": " + bytesOf(error.value());
    error.restore();
  }
  raiseFor(PyExc_ValueError, argument, message);
}

ImportedArray::ImportedArray(ImportedArray &&other) noexcept
    : array(other.array), isCopy(other.isCopy), managed(other.managed),
      legacy(other.legacy), buffer(other.buffer), shape(std::move(other.shape)),
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

bool nsa::python::isOfPackage(PyTypeObject *type, std::string_view package) {
  nb::object module = getOptional((PyObject *)type, "__module__");
  if (!module.is_valid() || !PyUnicode_Check(module.ptr()))
    return false;
  std::string_view name = utf8Of(module);
  return name.substr(0, package.size()) == package &&
         (name.size() == package.size() || name[package.size()] == '.');
}

void ImportedArray::checkDestination(nb::handle object,
                                     const char *argument) const {
  if (isCopy)
    raiseFor(PyExc_ValueError, argument,
             std::string("expected an array to write to but got ") +
                 typeNameOf(object) + " that exports a copy");
}

bool ImportedArray::importExchange(nb::handle object) {
  const dlpack::ExchangeApi *api = exchangeApiOf(Py_TYPE(object.ptr()));
  if (!api)
    return false;
  if (api->fromObject(object.ptr(), &managed) != 0) {
    managed = nullptr;
    return false;
  }
  array = arrayOf(managed->tensor, managed->flags);
  isCopy = managed->flags & dlpack::flagIsCopied;
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
    if (isRefusal())
      PyErr_Clear();
    return false;
  }
  const char *format = buffer->format ? buffer->format : "B";
  if (*format == '@' || *format == '=' || *format == '<')
    ++format;
  bool usable = std::strlen(format) == 1 && codeOf(*format, array.dtype_code) &&
                buffer->itemsize > 0 && buffer->itemsize <= 16;
  // Of one dimension, some exporters leave the shape to the length, and many
  // leave out strides that the shape tells, though both were asked for.
  usable = usable && (buffer->shape || buffer->ndim <= 1);
  for (int i = 0; usable && i != buffer->ndim; ++i) {
    shape.push_back(buffer->shape ? buffer->shape[i]
                                  : buffer->len / buffer->itemsize);
    // Pointers on the way to an element are no strides.
    usable = !buffer->suboffsets || buffer->suboffsets[i] < 0;
    if (!buffer->strides)
      continue;
    usable = usable && buffer->strides[i] % buffer->itemsize == 0;
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
  array.strides = buffer->strides ? strides.data() : nullptr;
  return true;
}

bool ImportedArray::importCapsule(nb::handle object) {
  if (PyErr_Occurred())
    return false;
  nb::object function = getOptional(object, "__dlpack__");
  if (!function.is_valid())
    return false;
  try {
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
        bool refused =
            error.matches(PyExc_Exception) && !error.matches(PyExc_MemoryError);
        if (!refused || !kwargs.contains(key))
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
      array = arrayOf(managed->tensor, managed->flags);
      isCopy = managed->flags & dlpack::flagIsCopied;
      return true;
    }
    if (PyCapsule_IsValid(raw, "dltensor")) {
      legacy = static_cast<dlpack::LegacyManagedTensor *>(
          PyCapsule_GetPointer(raw, "dltensor"));
      PyCapsule_SetName(raw, "used_dltensor");
      // Before version 1.0 an array cannot say that it is immutable.
      bool isImmutable = false;
      for (const char *package : {"jax", "jaxlib", "tensorflow"})
        isImmutable |= isOfPackage(Py_TYPE(object.ptr()), package);
      array = arrayOf(legacy->tensor, isImmutable ? dlpack::flagReadOnly : 0);
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
