//===- Caller.h - Calls that remember their bindings ------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_PYTHON_CALLER_H
#define NSA_PYTHON_CALLER_H

#include "CallBuffer.h"
#include "Describer.h"
#include "Steps.h"

#include <memory>
#include <unordered_map>

namespace nsa::python {

/// What is in a tuple, borrowed: with the stable ABI, nanobind's own iterators
/// and accessors go through Python's.
inline nanobind::handle itemOf(const nanobind::tuple &tuple, size_t place) {
  return NB_TUPLE_GET_ITEM(tuple.ptr(), static_cast<Py_ssize_t>(place));
}

/// Objects of a call, borrowed.
using Objects = CallBuffer<64, PyObject *>;

/// Objects of a call that nobody else need hold.
class HeldObjects : public Objects {
public:
  HeldObjects() = default;
  explicit HeldObjects(const Objects &objects) { hold(objects); }
  ~HeldObjects() { letGo(); }
  void hold(nanobind::handle object) {
    Py_INCREF(object.ptr());
    push_back(object.ptr());
  }
  void hold(const Objects &objects) {
    for (PyObject *object : objects)
      hold(nanobind::handle(object));
  }
  void letGo() {
    for (PyObject *object : *this)
      Py_DECREF(object);
    assign(0, nullptr);
  }
};

/// A step called with arrays in a fixed order. Engines call with the same
/// buffers again and again: what was checked for an array's address, shape,
/// strides, type and device need not be checked again, so bindings are kept
/// under these. No array is kept alive.
///
/// Describing and exporting arrays may run Python, and so let another thread
/// call, or call again: what belongs to a call is the call's, and an entry that
/// it uses stays whatever becomes of `entries`.
class Caller {
public:
  /// `prepare` takes a target, "cuda" or "cpu", and a list of what each array
  /// is, (dtype code, dtype bits, shape). It returns a Step and a dict of sizes
  /// that calls leave out. `arrays` and `sizes` are names of the step's
  /// arguments.
  Caller(nanobind::object prepare, nanobind::tuple arrays,
         nanobind::tuple sizes);
  Caller(const Caller &) = delete;
  Caller &operator=(const Caller &) = delete;

  /// `arrays` and `sizes` are in the order of the names; a size that is None is
  /// the prepared one, or that of the dimensions that name it. An array of more
  /// dimensions than its argument's one is taken as flat if it is contiguous.
  /// Nothing else need hold the arrays if no Python has run since they were
  /// held.
  void call(const Objects &arrays, const nanobind::tuple &sizes,
            nanobind::handle stream);

  /// The same for the arrays of the last call, where it runs no Python: nothing
  /// can let go of anything meanwhile, and no references are counted. False,
  /// with nothing done, for any other call.
  bool launchKnown(const Objects &arrays, const nanobind::tuple &sizes,
                   nanobind::handle stream);

private:
  /// What a binding depends on, of some tens of arrays.
  using Key = CallBuffer<256>;
  /// An array that had to be exported, by its place among the arrays. What an
  /// exporter makes lives until the launch, also where it is a copy.
  using Exported = std::vector<std::pair<size_t, ImportedArray>>;

  struct Entry {
    std::vector<int64_t> key;
    /// Its host kernels must outlive the binding.
    nanobind::object owner;
    const PyStep &step;
    runtime::Binding binding;
    StreamSource source = {};
    /// The type of the first array.
    nanobind::object type = {};
    Describer describer = {};
    /// Where each size is in the binding's list.
    std::vector<size_t> places = {};
    size_t numSizes = 0;
    /// Whether nothing runs Python, from the description of its arrays to the
    /// launch, as long as they are the same.
    bool runsNoPython = false;
  };

  /// Whether the arrays are those of an entry, all of types that say so
  /// without being exported.
  bool areOf(const Entry &entry, const Objects &arrays) const;
  /// Appends what a binding depends on to `key`, and to `exported` what says no
  /// more than by being exported.
  void describe(const Objects &arrays, Key &key, Exported &exported) const;
  std::shared_ptr<Entry> find(const Objects &arrays, Exported &exported);
  /// Exports what is not in `exported` yet.
  std::shared_ptr<Entry> bind(const Objects &arrays, Exported &exported);
  const char *nameOf(size_t array) const;
  void launch(Entry &entry, const nanobind::tuple &sizes,
              nanobind::handle stream) const;

  nanobind::object prepare;
  std::vector<nanobind::object> arrayNames, sizeNames;
  std::unordered_map<uint64_t, std::shared_ptr<Entry>> entries;
  /// Of the last call, the likeliest one of the next.
  std::shared_ptr<Entry> latest;
};

} // namespace nsa::python

#endif // NSA_PYTHON_CALLER_H
