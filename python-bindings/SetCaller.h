//===- SetCaller.h - Calls with sets of fields ------------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_PYTHON_SETCALLER_H
#define NSA_PYTHON_SETCALLER_H

#include "Caller.h"

namespace nsa::python {

/// An operation over sets of fields, dicts of names and arrays: which step it
/// is depends on constants and on the names. What was made for them is found
/// again without running Python.
class SetCaller {
public:
  /// `make` takes the constants and a tuple of names for each set. It returns a
  /// Caller (or a function of the same arguments), and which arrays that takes,
  /// by their places among the inputs and then the values of all sets.
  explicit SetCaller(nanobind::object make) : make(std::move(make)) {}
  SetCaller(const SetCaller &) = delete;
  SetCaller &operator=(const SetCaller &) = delete;

  /// `inputs` is a tuple, or a set that comes before the others; `sets` is a
  /// sequence of dicts, `sizes` what the Caller takes.
  void call(nanobind::tuple constants, nanobind::object inputs,
            nanobind::object sets, nanobind::tuple sizes,
            nanobind::object stream);

  /// What was made; the next call makes it again.
  void forget() {
    entries.clear();
    latest.reset();
  }

private:
  struct Entry {
    nanobind::tuple constants;
    /// Of all sets, each followed by None.
    std::vector<nanobind::object> names;
    nanobind::object function;
    /// The same, if it is one.
    Caller *caller;
    std::vector<size_t> taken;
    /// Whether these are all, in their order.
    bool takesAll;

    /// Those of a call's arrays; `picked` has them where they are not all.
    const Objects &pick(const Objects &arrays, Objects &picked) const;
  };
  /// What is known of a call: its sets, read once.
  struct Call;

  /// Whether a call is one of an entry, by the very same names. Appends its
  /// arrays, borrowed; runs no Python.
  bool isOf(const Entry &entry, const nanobind::tuple &constants,
            nanobind::handle inputs, nanobind::handle sets,
            Objects &arrays) const;
  std::shared_ptr<Entry> enter(const nanobind::tuple &constants,
                               const Call &call);

  nanobind::object make;
  std::unordered_map<uint64_t, std::shared_ptr<Entry>> entries;
  /// Of the last call that could be looked up.
  std::shared_ptr<Entry> latest;
};

} // namespace nsa::python

#endif // NSA_PYTHON_SETCALLER_H
