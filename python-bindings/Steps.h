//===- Steps.h - Steps and bindings as Python sees them ---------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_PYTHON_STEPS_H
#define NSA_PYTHON_STEPS_H

#include "Arrays.h"
#include "CallBuffer.h"
#include "Streams.h"
#include "nsa/Runtime/Runtime.h"

#include <nanobind/nanobind.h>

#include <string>
#include <vector>

namespace nsa::python {

/// An integer of 64 bits; `range` says in a message what was expected. Throws
/// nanobind::python_error.
int64_t integerOf(nanobind::handle value, const char *argument,
                  const char *range);

/// What a size argument is given as. Throws nanobind::python_error.
int64_t sizeOf(nanobind::handle value, const char *argument);

/// A runtime step, and the Python object that its host kernels live in.
class PyStep {
public:
  struct Argument {
    /// For a match by identity: the names of keyword arguments are interned.
    nanobind::object name;
    bool isArray, isOutput, isOptional;
    int32_t rank;
    /// "a 1-d int32 array".
    std::string expected;
  };

  /// `simulator`: what runs the kernels instead of a device, or none.
  explicit PyStep(runtime::Step made,
                  nanobind::object keep = nanobind::object(),
                  nanobind::object simulator = nanobind::object());

  /// Checks what does not depend on sizes.
  runtime::Binding bind(const std::vector<nsa_argument> &arguments) const;
  /// Launches, or has the simulator run what a launch would. `sizes` may be
  /// null.
  void launch(runtime::Binding &binding, const int64_t *sizes,
              void *stream) const;

  /// The argument of that name, or null.
  const Argument *find(nanobind::handle name) const;
  /// Checks and launches in one.
  void call(nanobind::kwargs kwargs);
  /// Raises nsa.AccessError if guards have recorded something. Returns how many
  /// elements went to computed places unseen.
  uint64_t check() const;

  runtime::Step step;
  nanobind::object keep, simulator;
  std::vector<nanobind::object> sizeNames;

private:
  std::vector<Argument> arguments;
};

/// The arguments of a call, as the runtime takes them. Throws
/// nanobind::python_error.
class CallArguments {
public:
  CallArguments(const PyStep &step, const nanobind::kwargs &kwargs);

  /// How to ask for the current stream of the first producer that can be asked.
  StreamSource streamSource() const;

  std::vector<ImportedArray> arrays;
  std::vector<nanobind::object> objects;
  /// Points into `arrays`.
  std::vector<nsa_argument> values;
};

/// Nodes of a graph, and the binding whose arrays are in it.
struct PyGraphNode {
  runtime::GraphNode node;
  nanobind::object binding;
};

/// A runtime binding, and what has to live as long.
class PyBinding {
public:
  PyBinding(nanobind::object owner, const PyStep &step,
            CallArguments arguments);

  /// All C++: sizes are matched by identity, nothing is allocated, and the GIL
  /// stays held, as a launch is over sooner than a release and a
  /// re-acquisition. Only an object that is asked for its integer or its stream
  /// runs Python.
  void launch(nanobind::kwargs kwargs);

  /// Launches on a stream that is being captured; `self` is this one.
  PyGraphNode capture(nanobind::handle self, nanobind::kwargs kwargs);
  /// `graph`: a CUgraphExec as an int, or what has one.
  void update(const PyGraphNode &node, nanobind::handle graph,
              nanobind::kwargs kwargs);

  /// The step: its host kernels must outlive the binding.
  nanobind::object owner;
  std::vector<nanobind::object> objects;

private:
  /// What a launch takes.
  using Sizes = CallBuffer<16>;

  size_t placeOf(PyObject *sizeName) const;
  /// Takes `stream` out of `kwargs`, and leaves `sizes` by their places.
  void *takeCall(const nanobind::kwargs &kwargs, Sizes &sizes) const;
  void takeSizes(const nanobind::kwargs &kwargs, Sizes &sizes) const;

  runtime::Binding binding;
  std::vector<nanobind::object> sizeNames;
  StreamSource source;
  std::vector<ImportedArray> arrays;
};

} // namespace nsa::python

#endif // NSA_PYTHON_STEPS_H
