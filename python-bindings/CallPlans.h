//===- CallPlans.h - Several calls as one launch ----------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_PYTHON_CALLPLANS_H
#define NSA_PYTHON_CALLPLANS_H

#include "Caller.h"

namespace nsa::python {

/// Functions with their arguments, functools.partial objects, that one launch
/// does the work of. Which launch it is depends on the functions, the names and
/// constants among the arguments, and on which arrays are the same; on no
/// array's contents, and not on integers that are called num_*. What was made
/// for them is found again without running Python.
class CallPlans {
public:
  /// `make` takes the functions, their arrays (each once, in the order in which
  /// they occur) and a number or None. It returns None, where these functions
  /// have to be called, or a Caller, which arrays that takes by their places
  /// among them, which of these are to be given as bytes, the sizes that it
  /// takes, and which of these are which of the numbers. `asBytes` takes an
  /// array.
  CallPlans(nanobind::object make, nanobind::object asBytes);
  CallPlans(const CallPlans &) = delete;
  CallPlans &operator=(const CallPlans &) = delete;

  /// Launches; false, with nothing done, where the functions have to be called.
  /// `number` is None or one more number.
  bool launch(nanobind::tuple functions, nanobind::object number,
              nanobind::object stream);

private:
  struct Entry {
    std::vector<int64_t> key;
    /// What `key` stands for, and what is compared beside it.
    std::vector<nanobind::object> types, objects;
    nanobind::object function = {};
    /// The same; null where the functions have to be called.
    Caller *caller = nullptr;
    std::vector<size_t> arrays = {}, bytes = {};
    std::vector<nanobind::object> sizes = {};
    /// (place among the sizes, number).
    std::vector<std::pair<size_t, size_t>> numbers = {};
  };
  /// What is known of a call, read once.
  struct Call;

  std::shared_ptr<Entry> enter(const nanobind::tuple &functions,
                               const nanobind::object &number,
                               const Call &call);

  nanobind::object make, asBytes;
  /// functools.partial, and names of what its objects have.
  nanobind::object partial, func, args, keywords;
  std::unordered_map<uint64_t, std::shared_ptr<Entry>> entries;
  /// Of the last call, the likeliest one of the next.
  std::shared_ptr<Entry> latest;
};

} // namespace nsa::python

#endif // NSA_PYTHON_CALLPLANS_H
