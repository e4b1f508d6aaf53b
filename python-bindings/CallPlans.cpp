//===- CallPlans.cpp - Several calls as one launch ------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CallPlans.h"

#include <algorithm>
#include <cstring>

namespace nb = nanobind;
using namespace nsa::python;

/// Entries that are kept; past that, all are forgotten.
static constexpr size_t maxEntries = 512;

/// What a word of a key says of a value. Addresses of types are larger.
enum Kind : int64_t { None, True, False, Number, Constant, Text, Tuple, List };

/// Which of a call's arrays an object is, of a few of them.
class Places {
public:
  static constexpr size_t most = 192;

  /// `object` is the array of place `next`, if it is new.
  size_t find(PyObject *object, size_t next) {
    size_t at = (reinterpret_cast<uintptr_t>(object) >> 4) * 0x9E3779B1 % size;
    while (objects[at] && objects[at] != object)
      at = (at + 1) % size;
    if (!objects[at]) {
      objects[at] = object;
      places[at] = static_cast<uint16_t>(next);
    }
    return places[at];
  }

private:
  static constexpr size_t size = 256;
  PyObject *objects[size] = {};
  uint16_t places[size];
};

struct CallPlans::Call {
  CallBuffer<512> key;
  /// Functions, names and texts, borrowed from what is called.
  CallBuffer<256, PyObject *> objects;
  /// Each once; and those that `key` does not have.
  HeldObjects arrays, numbers;
  Places places;

  /// False for what cannot be looked up.
  bool read(const nb::tuple &functions, nb::handle number,
            const CallPlans &plans);
  bool isOf(const Entry &entry) const;
  uint64_t hash() const;

private:
  bool addFunction(nb::handle function, const CallPlans &plans);
  bool addValue(PyObject *value, PyObject *name);
  /// One that is neither a tuple nor a list.
  bool addItem(PyObject *value, PyObject *name);
};

static bool isNumber(PyObject *name) {
  Py_ssize_t size;
  const char *text = name ? PyUnicode_AsUTF8AndSize(name, &size) : nullptr;
  if (!text)
    PyErr_Clear();
  return text && size > 4 && std::memcmp(text, "num_", 4) == 0;
}

bool CallPlans::Call::addItem(PyObject *value, PyObject *name) {
  if (value == Py_None) {
    key.push_back(Kind::None);
  } else if (PyBool_Check(value)) {
    key.push_back(value == Py_True ? Kind::True : Kind::False);
  } else if (PyLong_CheckExact(value)) {
    if (isNumber(name)) {
      key.push_back(Kind::Number);
      numbers.hold(value);
      return true;
    }
    int overflow;
    key.push_back(Kind::Constant);
    key.push_back(PyLong_AsLongLongAndOverflow(value, &overflow));
    return !overflow;
  } else if (PyUnicode_CheckExact(value)) {
    key.push_back(Kind::Text);
    objects.push_back(value);
  } else {
    size_t place = places.find(value, arrays.size());
    key.push_back(reinterpret_cast<int64_t>(Py_TYPE(value)));
    key.push_back(static_cast<int64_t>(place));
    if (place == arrays.size())
      arrays.hold(value);
    return arrays.size() <= Places::most;
  }
  return true;
}

bool CallPlans::Call::addValue(PyObject *value, PyObject *name) {
  bool isTuple = PyTuple_CheckExact(value);
  if (!isTuple && !PyList_CheckExact(value))
    return addItem(value, name);
  Py_ssize_t size =
      isTuple ? NB_TUPLE_GET_SIZE(value) : NB_LIST_GET_SIZE(value);
  key.push_back(isTuple ? Kind::Tuple : Kind::List);
  key.push_back(size);
  for (Py_ssize_t i = 0; i != size; ++i)
    if (!addItem(isTuple ? NB_TUPLE_GET_ITEM(value, i)
                         : NB_LIST_GET_ITEM(value, i),
                 nullptr))
      return false;
  return true;
}

bool CallPlans::Call::addFunction(nb::handle function, const CallPlans &plans) {
  // Attributes of the type itself, which the object holds.
  nb::object called = nb::getattr(function, plans.func),
             args = nb::getattr(function, plans.args),
             named = nb::getattr(function, plans.keywords);
  if (!PyTuple_CheckExact(args.ptr()) || !PyDict_CheckExact(named.ptr()))
    return false;
  objects.push_back(called.ptr());
  Py_ssize_t count = NB_TUPLE_GET_SIZE(args.ptr());
  key.push_back(count);
  key.push_back(PyDict_Size(named.ptr()));
  for (Py_ssize_t i = 0; i != count; ++i)
    if (!addValue(NB_TUPLE_GET_ITEM(args.ptr(), i), nullptr))
      return false;
  PyObject *name, *value;
  Py_ssize_t at = 0;
  while (PyDict_Next(named.ptr(), &at, &name, &value)) {
    if (!PyUnicode_CheckExact(name))
      return false;
    objects.push_back(name);
    if (!addValue(value, name))
      return false;
  }
  return true;
}

bool CallPlans::Call::read(const nb::tuple &functions, nb::handle number,
                           const CallPlans &plans) {
  if (!number.is_none() && !PyLong_CheckExact(number.ptr()))
    return false;
  key.push_back(number.is_none());
  for (size_t i = 0, e = functions.size(); i != e; ++i) {
    nb::handle function = itemOf(functions, i);
    if ((PyObject *)Py_TYPE(function.ptr()) != plans.partial.ptr() ||
        !addFunction(function, plans))
      return false;
  }
  if (!number.is_none())
    numbers.hold(number);
  return true;
}

uint64_t CallPlans::Call::hash() const {
  uint64_t hash = 0;
  auto mix = [&](uint64_t word) {
    hash = (hash ^ word) * 0xFF51AFD7ED558CCD;
    hash ^= hash >> 32;
  };
  for (int64_t word : key)
    mix(static_cast<uint64_t>(word));
  for (PyObject *object : objects)
    mix(PyUnicode_CheckExact(object)
            ? static_cast<uint64_t>(PyObject_Hash(object))
            : reinterpret_cast<uintptr_t>(object));
  return hash;
}

bool CallPlans::Call::isOf(const Entry &entry) const {
  auto isSame = [](PyObject *a, const nb::object &b) {
    return a == b.ptr() ||
           (PyUnicode_CheckExact(a) && PyUnicode_CheckExact(b.ptr()) &&
            PyUnicode_Compare(a, b.ptr()) == 0);
  };
  return key.size() == entry.key.size() &&
         objects.size() == entry.objects.size() &&
         std::equal(key.begin(), key.end(), entry.key.begin()) &&
         std::equal(objects.begin(), objects.end(), entry.objects.begin(),
                    isSame);
}

CallPlans::CallPlans(nb::object make, nb::object asBytes)
    : make(std::move(make)), asBytes(std::move(asBytes)),
      partial(nb::module_::import_("functools").attr("partial")),
      func(nb::steal(PyUnicode_InternFromString("func"))),
      args(nb::steal(PyUnicode_InternFromString("args"))),
      keywords(nb::steal(PyUnicode_InternFromString("keywords"))) {}

std::shared_ptr<CallPlans::Entry> CallPlans::enter(const nb::tuple &functions,
                                                   const nb::object &number,
                                                   const Call &call) {
  auto entry = std::make_shared<Entry>();
  entry->key.assign(call.key.begin(), call.key.end());
  for (PyObject *object : call.objects)
    entry->objects.push_back(nb::borrow(object));
  nb::list arrays;
  for (PyObject *array : call.arrays) {
    arrays.append(nb::handle(array));
    entry->types.push_back(nb::borrow((PyObject *)Py_TYPE(array)));
  }
  nb::object made = make(functions, nb::tuple(arrays), number);
  if (!made.is_none()) {
    entry->function = made[0];
    for (nb::handle place : nb::object(made[1]))
      entry->arrays.push_back(nb::cast<size_t>(place));
    for (nb::handle place : nb::object(made[2]))
      entry->bytes.push_back(nb::cast<size_t>(place));
    for (nb::handle size : nb::object(made[3]))
      entry->sizes.push_back(nb::borrow(size));
    for (nb::handle pair : nb::object(made[4]))
      entry->numbers.emplace_back(nb::cast<size_t>(pair[0]),
                                  nb::cast<size_t>(pair[1]));
    for (size_t place : entry->arrays)
      if (place >= call.arrays.size())
        throw nb::index_error("no array of that place");
    for (size_t place : entry->bytes)
      if (place >= entry->arrays.size())
        throw nb::index_error("no array of that place");
    for (auto [place, number] : entry->numbers)
      if (place >= entry->sizes.size() || number >= call.numbers.size())
        throw nb::index_error("no number of that place");
    entry->caller = &nb::cast<Caller &>(entry->function);
  }
  // Old entries go when this is done: the end of a step may run Python.
  std::unordered_map<uint64_t, std::shared_ptr<Entry>> forgotten;
  if (entries.size() >= maxEntries)
    std::swap(entries, forgotten);
  std::shared_ptr<Entry> replaced = entry;
  std::swap(entries[call.hash()], replaced);
  return entry;
}

bool CallPlans::launch(nb::tuple functions, nb::object number,
                       nb::object stream) {
  Call call;
  if (!call.read(functions, number, *this))
    return false;
  std::shared_ptr<Entry> entry = latest;
  if (!entry || !call.isOf(*entry)) {
    auto found = entries.find(call.hash());
    entry = found != entries.end() && call.isOf(*found->second)
                ? found->second
                : enter(functions, number, call);
    latest = entry;
  }
  if (!entry->caller)
    return false;

  Objects arrays;
  for (size_t place : entry->arrays)
    arrays.push_back(call.arrays.begin()[place]);
  HeldObjects bytes;
  for (size_t place : entry->bytes) {
    nb::object array = asBytes(nb::handle(arrays[place]));
    bytes.hold(array);
    arrays[place] = array.ptr();
  }
  auto sizes = nb::steal<nb::tuple>(
      PyTuple_New(static_cast<Py_ssize_t>(entry->sizes.size())));
  if (!sizes.is_valid())
    throw nb::python_error();
  size_t at = 0;
  auto next = entry->numbers.begin(), end = entry->numbers.end();
  for (const nb::object &given : entry->sizes) {
    nb::object size = given;
    if (next != end && next->first == at)
      size = nb::borrow(call.numbers.begin()[next++->second]);
    PyTuple_SetItem(sizes.ptr(), static_cast<Py_ssize_t>(at++),
                    size.release().ptr());
  }
  entry->caller->call(arrays, sizes, stream);
  return true;
}
