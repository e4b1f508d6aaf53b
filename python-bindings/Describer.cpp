//===- Describer.cpp - Descriptions of arrays of a call -------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A call describes each of its arrays, as a tensor may have been moved. Torch's
// exchange API converts the object to an at::Tensor of its own for that, which
// counts references and acquires the GIL twice: three quarters of its time.
// What it calls then, at::toDLPackNonOwning, takes the at::Tensor that the
// object has. Where that is, no interface says; so it is looked for where an
// array is bound, by what `_cdata` of the object is, and used only if it is in
// one place and the function, called with it, says what the exchange API does.
//
//===----------------------------------------------------------------------===//

#include "Describer.h"
#include "Errors.h"

#include <cstring>
#include <dlfcn.h>

namespace nb = nanobind;
using namespace nsa::python;

/// void at::toDLPackNonOwning(const at::Tensor &, DLTensor *)
static constexpr const char *functionName =
    "_ZN2at17toDLPackNonOwningERKNS_6TensorEP8DLTensor";

/// A function of the library that `other` is in, or of those that it is linked
/// with; null if there is none.
static void *findBeside(void *other, const char *name) {
  Dl_info info;
  if (!dladdr(other, &info))
    return nullptr;
  void *library = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  if (!library)
    return nullptr;
  void *function = dlsym(library, name);
  // Whose function `other` is stays loaded.
  dlclose(library);
  return function;
}

static uintptr_t wordAt(nb::handle object, size_t place) {
  uintptr_t word;
  std::memcpy(&word, reinterpret_cast<const char *>(object.ptr()) + place,
              sizeof(word));
  return word;
}

/// The one place behind its head where an object has the word that its
/// `_cdata` is; 0 if there is none, or more than one.
static size_t findHandle(nb::handle object) {
  nb::object value = getOptional(object, "_cdata"),
             size = getOptional((PyObject *)Py_TYPE(object.ptr()),
                                "__basicsize__");
  if (!value.is_valid() || !PyLong_CheckExact(value.ptr()) ||
      !size.is_valid() || !PyLong_CheckExact(size.ptr()))
    return 0;
  auto word = reinterpret_cast<uintptr_t>(PyLong_AsVoidPtr(value.ptr()));
  size_t end = PyLong_AsSize_t(size.ptr()), found = 0;
  if (PyErr_Occurred()) {
    PyErr_Clear();
    return 0;
  }
  for (size_t place = sizeof(PyObject); place + sizeof(word) <= end;
       place += sizeof(word))
    if (wordAt(object, place) == word) {
      if (found)
        return 0;
      found = place;
    }
  return found;
}

/// Whether a type has the API itself. Objects of one that inherits it may be
/// described by functions in Python.
static bool ownsApi(PyTypeObject *type) {
  nb::object names = getOptional((PyObject *)type, "__dict__");
  return names.is_valid() &&
         PyMapping_HasKeyString(names.ptr(), exchangeApiName);
}

Describer::Describer(nb::handle array) {
  take(Py_TYPE(array.ptr()));
  if (!api || !api->tensorFromObject || !ownsApi(type))
    return;
  function = reinterpret_cast<Function>(findBeside(
      reinterpret_cast<void *>(api->tensorFromObject), functionName));
  place = function ? findHandle(array) : 0;
  dlpack::Tensor asked{}, direct{};
  bool isSame = place && ask(array, asked) && readHandle(array, direct) &&
                std::memcmp(&asked, &direct, sizeof(asked)) == 0;
  if (!isSame) {
    PyErr_Clear();
    function = nullptr;
  }
}

void Describer::take(PyTypeObject *newType) {
  type = newType;
  api = exchangeApiOf(type);
  function = nullptr;
}

bool Describer::ask(nb::handle object, dlpack::Tensor &tensor) const {
  return api && api->tensorFromObject &&
         api->tensorFromObject(object.ptr(), &tensor) == 0;
}

bool Describer::describe(nb::handle object, nsa_array &array) {
  if (read(object, array))
    return true;
  if (Py_TYPE(object.ptr()) != type)
    take(Py_TYPE(object.ptr()));
  dlpack::Tensor tensor;
  if (function || !ask(object, tensor))
    return false;
  array = arrayOf(tensor, /*flags=*/0);
  return true;
}
