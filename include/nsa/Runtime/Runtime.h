//===- Runtime.h - Load and launch bundles, from C++ ------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A thin C++17 face of the C ABI in nsa-c/runtime.h, where shapes, units,
// ownership and threads are described. Header only, so that no C++ ABI lies
// between a program and libnsa_runtime. Failures are exceptions: a failed check
// is a bug of the caller or a machine without a device, and neither is worth a
// test at every call site; who wants statuses takes the C ABI.
//
//===----------------------------------------------------------------------===//

#ifndef NSA_RUNTIME_RUNTIME_H
#define NSA_RUNTIME_RUNTIME_H

#include "nsa-c/runtime.h"

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nsa::runtime {

/// What every function here throws; what() names the argument, what was
/// expected and what came.
class Error : public std::runtime_error {
public:
  Error(nsa_status status, const char *message, const char *argument = "")
      : std::runtime_error(message), code(status), name(argument) {}

  nsa_status status() const { return code; }
  /// The argument that it is about, "" if it is about none.
  const std::string &argument() const { return name; }

private:
  nsa_status code;
  std::string name;
};

/// Wrong accesses, which kernels with guards skipped; what() tells of one.
class AccessError : public Error {
public:
  AccessError(const char *message, const char *argument,
              std::vector<nsa_access> accesses, uint64_t count)
      : Error(NSA_WRONG_ACCESS, message, argument), known(std::move(accesses)),
        number(count) {}

  /// Those that were recorded. Their strings belong to the step.
  const std::vector<nsa_access> &accesses() const { return known; }
  /// How many there were.
  uint64_t count() const { return number; }

private:
  std::vector<nsa_access> known;
  uint64_t number;
};

inline void check(nsa_status status) {
  if (status != NSA_OK)
    throw Error(status, nsa_last_error(), nsa_last_error_argument());
}

/// The nodes of a step in a graph that it was captured in. Movable.
class GraphNode {
public:
  /// Takes over the handle.
  explicit GraphNode(nsa_graph_node *handle) : handle(handle) {}

  const nsa_graph_node *get() const { return handle.get(); }

private:
  struct Destroy {
    void operator()(nsa_graph_node *node) const {
      nsa_graph_node_destroy(node);
    }
  };
  std::unique_ptr<nsa_graph_node, Destroy> handle;
};

/// A step with its arrays, checked and ready to launch. Movable.
class Binding {
public:
  /// Takes over the handle.
  explicit Binding(nsa_binding *handle) : handle(handle) {}

  /// Launches with the sizes of bind time.
  void launch(void *stream = nullptr) {
    check(nsa_binding_launch(handle.get(), nullptr, stream));
  }
  /// `sizes` has one value for each size argument, in manifest order, or
  /// NSA_SIZE_AS_BOUND.
  void launch(const std::vector<int64_t> &sizes, void *stream = nullptr) {
    check(nsa_binding_launch(handle.get(), sizes.data(), stream));
  }

  /// Launches on a stream that is being captured. `sizes` may be null: those of
  /// bind time.
  GraphNode capture(const int64_t *sizes, void *stream) {
    nsa_graph_node *made = nullptr;
    check(nsa_binding_capture(handle.get(), sizes, stream, &made));
    return GraphNode(made);
  }
  /// Gives nodes of this step in `graphExec`, a CUgraphExec made from their
  /// graph, these arrays and `sizes`.
  void update(const GraphNode &node, void *graphExec, const int64_t *sizes) {
    check(nsa_binding_update(handle.get(), node.get(), graphExec, sizes));
  }

  /// Checks sizes as a launch does, and launches nothing.
  void prepare(const int64_t *sizes) {
    check(nsa_binding_prepare(handle.get(), sizes));
  }
  /// What the sizes that were prepared make of the step's kernel `index`.
  nsa_kernel_launch kernel(size_t index) const {
    nsa_kernel_launch launch;
    check(nsa_binding_kernel(handle.get(), index, &launch));
    return launch;
  }
  /// The array of the step's argument `index`.
  nsa_array array(size_t index) const {
    nsa_array array;
    check(nsa_binding_array(handle.get(), index, &array));
    return array;
  }

  bool isCuda() const {
    int32_t type;
    nsa_binding_device(handle.get(), &type, nullptr);
    return type == NSA_DEVICE_CUDA;
  }
  int32_t device() const {
    int32_t id;
    nsa_binding_device(handle.get(), nullptr, &id);
    return id;
  }

  nsa_binding *get() const { return handle.get(); }

private:
  struct Destroy {
    void operator()(nsa_binding *binding) const {
      nsa_binding_destroy(binding);
    }
  };
  std::unique_ptr<nsa_binding, Destroy> handle;
};

/// One `nsa.step`. Copies share it.
class Step {
public:
  /// `image` is PTX or a cubin, or empty.
  Step(std::string_view manifest, std::string_view image,
       const std::vector<nsa_host_kernel> &hostKernels = {}) {
    nsa_step *made = nullptr;
    check(nsa_step_create(manifest.data(), manifest.size(),
                          image.empty() ? nullptr : image.data(), image.size(),
                          hostKernels.data(), hostKernels.size(), &made));
    handle.reset(made, nsa_step_destroy);
  }
  explicit Step(std::shared_ptr<const nsa_step> handle)
      : handle(std::move(handle)) {}

  const char *name() const { return nsa_step_name(get()); }
  const char *manifest() const { return nsa_step_manifest(get()); }
  const char *chip() const { return nsa_step_chip(get()); }
  std::string_view image() const {
    size_t size;
    const void *data = nsa_step_image(get(), &size);
    return {static_cast<const char *>(data), data ? size : 0};
  }
  bool hasHostKernels() const { return nsa_step_has_host_kernels(get()); }

  std::vector<std::string> kernels() const {
    std::vector<std::string> names;
    for (size_t i = 0, e = nsa_step_num_kernels(get()); i != e; ++i)
      names.push_back(nsa_step_kernel_name(get(), i));
    return names;
  }
  std::vector<nsa_argument_info> arguments() const {
    std::vector<nsa_argument_info> infos(nsa_step_num_arguments(get()));
    for (size_t i = 0, e = infos.size(); i != e; ++i)
      check(nsa_step_argument(get(), i, &infos[i]));
    return infos;
  }
  /// The names of the size arguments in the order that launches take them.
  std::vector<std::string> sizes() const {
    std::vector<std::string> names;
    for (size_t i = 0, e = nsa_step_num_sizes(get()); i != e; ++i)
      names.push_back(nsa_step_size_name(get(), i));
    return names;
  }

  /// Loads the kernels on a CUDA device ahead of the first bind.
  void load(int32_t device) const { check(nsa_step_load(get(), device)); }

  Binding bind(const std::vector<nsa_argument> &arguments) const {
    nsa_binding *made = nullptr;
    check(nsa_step_bind(get(), arguments.data(), arguments.size(), &made));
    return Binding(made);
  }
  /// For kernels that the caller runs by other means.
  Binding checkArguments(const std::vector<nsa_argument> &arguments) const {
    nsa_binding *made = nullptr;
    check(nsa_step_check(get(), arguments.data(), arguments.size(), &made));
    return Binding(made);
  }
  /// Throws an AccessError if kernels of this step, which was compiled with
  /// guards, made a wrong access since this was last called. Returns how many
  /// elements went to computed places unseen. Waits for devices: see
  /// nsa_step_check_accesses.
  uint64_t checkAccesses() const {
    std::vector<nsa_access> accesses(1024);
    size_t known;
    uint64_t count, unclaimed;
    nsa_status status = nsa_step_check_accesses(
        get(), accesses.data(), accesses.size(), &known, &count, &unclaimed);
    accesses.resize(known);
    if (status == NSA_WRONG_ACCESS)
      throw AccessError(nsa_last_error(), nsa_last_error_argument(),
                        std::move(accesses), count);
    check(status);
    return unclaimed;
  }
  void launch(const std::vector<nsa_argument> &arguments,
              void *stream = nullptr) const {
    check(nsa_step_launch(get(), arguments.data(), arguments.size(), stream));
  }

  const nsa_step *get() const { return handle.get(); }

private:
  std::shared_ptr<const nsa_step> handle;
};

/// Every step of a directory that nsa-compile or Python's save() wrote, in the
/// order of their names.
inline std::vector<Step> loadBundle(const std::string &directory) {
  nsa_bundle *loaded = nullptr;
  check(nsa_bundle_load(directory.c_str(), &loaded));
  std::shared_ptr<nsa_bundle> bundle(loaded, nsa_bundle_destroy);
  std::vector<Step> steps;
  // Each step keeps the bundle that keeps it.
  for (size_t i = 0, e = nsa_bundle_num_steps(loaded); i != e; ++i)
    steps.emplace_back(
        std::shared_ptr<const nsa_step>(bundle, nsa_bundle_step(loaded, i)));
  return steps;
}

/// How many CUDA devices there are; throws if there is no driver or no device.
inline int32_t deviceCount() {
  int32_t count = 0;
  check(nsa_device_count(&count));
  return count;
}

/// Throws if NSA_TARGET keeps steps from running on `target`: "cuda", "cpu" or
/// "simt".
inline void checkTarget(const char *target) { check(nsa_check_target(target)); }

} // namespace nsa::runtime

#endif // NSA_RUNTIME_RUNTIME_H
