//===- SetCaller.cpp - Calls with sets of fields --------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SetCaller.h"
#include "Errors.h"

namespace nb = nanobind;
using namespace nsa::python;

/// Entries that are kept; past that, all are forgotten.
static constexpr size_t maxEntries = 1024;

struct SetCaller::Call {
  HeldObjects arrays;
  /// Of all sets, each followed by None.
  HeldObjects names;
  uint64_t hash = 0;
  /// Whether constants and names are of types whose hash and equality run no
  /// Python: only then is the call looked up.
  bool isPlain = true;

  void add(uint64_t value) {
    hash = (hash ^ value) * 0xFF51AFD7ED558CCD;
    hash ^= hash >> 32;
  }
  void addConstants(const nb::tuple &constants);
  void addName(nb::handle name);
  void addSet(nb::handle set);
  bool matches(const nb::tuple &constants, const Entry &entry) const;
  static bool areSame(const nb::tuple &constants, const Entry &entry);
};

static bool isSame(nb::handle a, nb::handle b) {
  return a.ptr() == b.ptr() ||
         (Py_TYPE(a.ptr()) == Py_TYPE(b.ptr()) &&
          PyObject_RichCompareBool(a.ptr(), b.ptr(), Py_EQ) == 1);
}

void SetCaller::Call::addConstants(const nb::tuple &constants) {
  for (nb::handle constant : constants) {
    PyTypeObject *type = Py_TYPE(constant.ptr());
    isPlain &= constant.is_none() || type == &PyLong_Type ||
               type == &PyBool_Type || type == &PyUnicode_Type;
    // True is 1, and has its hash.
    if (isPlain)
      add(static_cast<uint64_t>(PyObject_Hash(constant.ptr())) ^
          reinterpret_cast<uintptr_t>(type));
  }
}

void SetCaller::Call::addName(nb::handle name) {
  isPlain &= PyUnicode_CheckExact(name.ptr());
  names.hold(name);
  if (isPlain)
    add(static_cast<uint64_t>(PyObject_Hash(name.ptr())));
}

void SetCaller::Call::addSet(nb::handle set) {
  if (PyDict_CheckExact(set.ptr())) {
    PyObject *name, *value;
    Py_ssize_t at = 0;
    while (PyDict_Next(set.ptr(), &at, &name, &value)) {
      addName(name);
      arrays.hold(value);
    }
  } else {
    // Something like a dict, in its own order.
    for (nb::handle name : nb::tuple(nb::borrow(set)))
      addName(name);
    for (nb::handle value : nb::list(set.attr("values")()))
      arrays.hold(value);
  }
  names.hold(nb::none());
  add(~UINT64_C(0));
}

bool SetCaller::Call::areSame(const nb::tuple &constants, const Entry &entry) {
  if (constants.size() != entry.constants.size())
    return false;
  for (size_t i = 0, e = constants.size(); i != e; ++i)
    if (!isSame(itemOf(constants, i), itemOf(entry.constants, i)))
      return false;
  return true;
}

bool SetCaller::Call::matches(const nb::tuple &constants,
                              const Entry &entry) const {
  if (names.size() != entry.names.size() || !areSame(constants, entry))
    return false;
  for (size_t i = 0, e = names.size(); i != e; ++i)
    if (!isSame(names.begin()[i], entry.names[i]))
      return false;
  return true;
}

std::shared_ptr<SetCaller::Entry> SetCaller::enter(const nb::tuple &constants,
                                                   const Call &call) {
  nb::list sets, names;
  std::vector<nb::object> all;
  for (nb::handle name : call.names) {
    all.push_back(nb::borrow(name));
    if (!name.is_none()) {
      names.append(name);
    } else {
      sets.append(nb::tuple(names));
      names = nb::list();
    }
  }
  nb::object made = make(constants, nb::tuple(sets));
  nb::object function = made[0];
  Caller *caller = nb::isinstance<Caller>(function)
                       ? nb::inst_ptr<Caller>(function)
                       : nullptr;
  auto entry = std::make_shared<Entry>(
      Entry{constants, std::move(all), function, caller, {}, true});
  for (nb::handle place : nb::object(made[1])) {
    entry->takesAll &= nb::cast<size_t>(place) == entry->taken.size();
    entry->taken.push_back(nb::cast<size_t>(place));
    if (entry->taken.back() >= call.arrays.size())
      throw nb::index_error("no array of that place");
  }
  entry->takesAll &= entry->taken.size() == call.arrays.size();
  if (!call.isPlain)
    return entry;
  // Old entries go when this is done: the end of a step may run Python.
  std::unordered_map<uint64_t, std::shared_ptr<Entry>> forgotten;
  if (entries.size() >= maxEntries)
    std::swap(entries, forgotten);
  std::shared_ptr<Entry> replaced = entry;
  std::swap(entries[call.hash], replaced);
  return entry;
}

/// Whether a dict has an entry's names from `at` on, which is moved past them
/// then. Appends its values.
static bool takeSet(const std::vector<nb::object> &names, size_t &at,
                    nb::handle set, Objects &arrays) {
  if (!PyDict_CheckExact(set.ptr()))
    return false;
  size_t count = names.size();
  PyObject *name, *value;
  Py_ssize_t place = 0;
  while (PyDict_Next(set.ptr(), &place, &name, &value)) {
    if (at == count || names[at].ptr() != name)
      return false;
    arrays.push_back(value);
    ++at;
  }
  return at != count && names[at++].is_none();
}

bool SetCaller::isOf(const Entry &entry, const nb::tuple &constants,
                     nb::handle inputs, nb::handle sets,
                     Objects &arrays) const {
  // Constants of another type than those of an entry, which are plain, are not
  // the same; what is compared here runs no Python.
  bool isTuple = PyTuple_CheckExact(sets.ptr());
  if (!isTuple && !PyList_CheckExact(sets.ptr()))
    return false;
  if (!Call::areSame(constants, entry))
    return false;
  size_t at = 0;
  if (PyTuple_CheckExact(inputs.ptr())) {
    Py_ssize_t count = NB_TUPLE_GET_SIZE(inputs.ptr());
    for (Py_ssize_t i = 0; i != count; ++i)
      arrays.push_back(NB_TUPLE_GET_ITEM(inputs.ptr(), i));
  } else if (!takeSet(entry.names, at, inputs, arrays)) {
    return false;
  }
  Py_ssize_t count =
      isTuple ? NB_TUPLE_GET_SIZE(sets.ptr()) : NB_LIST_GET_SIZE(sets.ptr());
  for (Py_ssize_t i = 0; i != count; ++i) {
    PyObject *set = isTuple ? NB_TUPLE_GET_ITEM(sets.ptr(), i)
                            : NB_LIST_GET_ITEM(sets.ptr(), i);
    if (!takeSet(entry.names, at, set, arrays))
      return false;
  }
  return at == entry.names.size();
}

const Objects &SetCaller::Entry::pick(const Objects &arrays,
                                      Objects &picked) const {
  if (takesAll)
    return arrays;
  for (size_t place : taken)
    picked.push_back(arrays.begin()[place]);
  return picked;
}

void SetCaller::call(nb::tuple constants, nb::object inputs, nb::object sets,
                     nb::tuple sizes, nb::object stream) {
  Call call;
  Objects arrays, picked;
  std::shared_ptr<Entry> entry;
  if (latest && isOf(*latest, constants, inputs, sets, arrays)) {
    Caller *caller = latest->caller;
    const Objects &taken = latest->pick(arrays, picked);
    if (caller && caller->launchKnown(taken, sizes, stream))
      return;
    entry = latest;
    call.arrays.hold(arrays);
  } else {
    call.addConstants(constants);
    if (PyTuple_Check(inputs.ptr()))
      for (nb::handle input : inputs)
        call.arrays.hold(input);
    else
      call.addSet(inputs);
    for (nb::handle set : sets)
      call.addSet(set);
    if (call.isPlain)
      if (auto found = entries.find(call.hash);
          found != entries.end() && call.matches(constants, *found->second))
        entry = found->second;
    if (!entry)
      entry = enter(constants, call);
    if (call.isPlain)
      latest = entry;
  }

  if (!entry->caller) {
    nb::list taken;
    for (size_t place : entry->taken)
      taken.append(nb::handle(call.arrays.begin()[place]));
    entry->function(taken, sizes, stream);
    return;
  }
  picked.assign(0, nullptr);
  entry->caller->call(entry->pick(call.arrays, picked), sizes, stream);
}
