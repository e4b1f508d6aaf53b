//===- CAPI.cpp - The C ABI of the runtime --------------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Turns handles into objects and exceptions into statuses, and nothing else.
//
//===----------------------------------------------------------------------===//

#include "Accesses.h"
#include "Binding.h"
#include "Guarded.h"
#include "Step.h"
#include "nsa-c/runtime.h"

#include <algorithm>
#include <cstring>

using namespace nsa::runtime;

struct nsa_step {
  std::shared_ptr<const Step> step;
};

struct nsa_bundle {
  std::vector<nsa_step> steps;
};

struct nsa_binding {
  Binding binding;
};

struct nsa_graph_node {
  GraphNode node;
};

namespace {

struct LastError {
  std::string message, argument;
};

LastError &lastError() {
  thread_local LastError error;
  return error;
}

/// Says `value` to whoever wants to know it.
template <typename T> void tell(T *place, T value) {
  if (place)
    *place = value;
}

Binding bind(const nsa_step *step, const nsa_argument *arguments,
             size_t numArguments, bool launches = true) {
  checkGiven(step, "step");
  if (numArguments)
    checkGiven(arguments, "arguments");
  return Binding(step->step,
                 checkArguments(step->step->manifest, arguments, numArguments),
                 launches);
}

} // namespace

nsa_status nsa::runtime::report(nsa_status status, const char *message,
                                const char *argument) {
  LastError &error = lastError();
  try {
    error.message = message;
    error.argument = argument;
  } catch (...) {
    error.message.clear();
    error.argument.clear();
  }
  return status;
}

const char *nsa_last_error(void) { return lastError().message.c_str(); }

const char *nsa_last_error_argument(void) {
  return lastError().argument.c_str();
}

const char *nsa_status_name(nsa_status status) {
  // In C, any number may be one.
  int code;
  static_assert(sizeof(code) == sizeof(status), "an enum of C is an int");
  std::memcpy(&code, &status, sizeof(code));
  switch (code) {
#define NSA_NAME(status)                                                       \
  case status:                                                                 \
    return #status;
    NSA_NAME(NSA_WRONG_ACCESS)
    NSA_NAME(NSA_OK)
    NSA_NAME(NSA_INVALID_ARGUMENT)
    NSA_NAME(NSA_TYPE)
    NSA_NAME(NSA_MANIFEST)
    NSA_NAME(NSA_IO)
    NSA_NAME(NSA_NO_DRIVER)
    NSA_NAME(NSA_NO_DEVICE)
    NSA_NAME(NSA_UNSUPPORTED_PTX)
    NSA_NAME(NSA_NO_KERNEL)
    NSA_NAME(NSA_DRIVER)
    NSA_NAME(NSA_OUT_OF_MEMORY)
    NSA_NAME(NSA_INTERNAL)
#undef NSA_NAME
  }
  return "unknown status";
}

int32_t nsa_manifest_schema(void) {
  return static_cast<int32_t>(manifestSchema);
}

nsa_status nsa_device_count(int32_t *count) {
  tell(count, 0);
  return guarded([&] { tell(count, Driver::get().deviceCount()); });
}

nsa_status nsa_check_target(const char *target) {
  return guarded([&] {
    checkGiven(target, "target");
    requireTarget(target);
  });
}

//===-- Steps
//--------------------------------------------------------------===//

nsa_status nsa_step_create(const char *manifest, size_t manifestSize,
                           const void *image, size_t imageSize,
                           const nsa_host_kernel *hostKernels,
                           size_t numHostKernels, nsa_step **step) {
  return guarded([&] {
    checkGiven(manifest, "manifest");
    checkGiven(step, "step");
    if (numHostKernels)
      checkGiven(hostKernels, "host_kernels");
    std::string imageText;
    if (image)
      imageText.assign(static_cast<const char *>(image), imageSize);
    std::string text(manifest, manifestSize);
    Manifest parsed = Manifest::parse(text);
    *step = new nsa_step{std::make_shared<Step>(
        std::move(parsed), std::move(text), std::move(imageText), hostKernels,
        numHostKernels)};
  });
}

void nsa_step_destroy(nsa_step *step) { delete step; }

const char *nsa_step_name(const nsa_step *step) {
  return step->step->manifest.step.c_str();
}

const char *nsa_step_manifest(const nsa_step *step) {
  return step->step->manifestText.c_str();
}

const char *nsa_step_chip(const nsa_step *step) {
  return step->step->manifest.chip.c_str();
}

const void *nsa_step_image(const nsa_step *step, size_t *size) {
  const std::string &image = step->step->image;
  tell(size, image.size());
  return image.empty() ? nullptr : image.data();
}

int32_t nsa_step_has_host_kernels(const nsa_step *step) {
  return step->step->hasHostKernels();
}

size_t nsa_step_num_kernels(const nsa_step *step) {
  return step->step->manifest.kernels.size();
}

const char *nsa_step_kernel_name(const nsa_step *step, size_t index) {
  const auto &kernels = step->step->manifest.kernels;
  return index < kernels.size() ? kernels[index].name.c_str() : nullptr;
}

size_t nsa_step_num_arguments(const nsa_step *step) {
  return step->step->manifest.arguments.size();
}

nsa_status nsa_step_argument(const nsa_step *step, size_t index,
                             nsa_argument_info *info) {
  return guarded([&] {
    const auto &arguments = step->step->manifest.arguments;
    checkGiven(info, "info");
    if (index >= arguments.size())
      fail(NSA_INVALID_ARGUMENT, "index: expected less than ", arguments.size(),
           " but got ", index);
    const ArgumentSpec &spec = arguments[index];
    info->name = spec.name.c_str();
    info->kind = spec.kind;
    info->dtype = spec.dtypeName.c_str();
    info->ndim = spec.rank();
    info->is_optional = spec.isOptional;
  });
}

size_t nsa_step_num_sizes(const nsa_step *step) {
  return step->step->manifest.sizes.size();
}

const char *nsa_step_size_name(const nsa_step *step, size_t index) {
  const Manifest &manifest = step->step->manifest;
  return index < manifest.sizes.size()
             ? manifest.arguments[manifest.sizes[index]].name.c_str()
             : nullptr;
}

nsa_status nsa_step_load(const nsa_step *step, int32_t device) {
  return guarded([&] {
    checkGiven(step, "step");
    step->step->deviceKernels(device);
  });
}

//===-- Guards
//-------------------------------------------------------------===//

/// Hands out what `take` gives, and throws if that is something.
template <typename Take>
static nsa_status checkAccesses(const nsa_step *step, nsa_access *accesses,
                                size_t capacity, size_t *numAccesses,
                                uint64_t *count, uint64_t *unclaimed,
                                Take &&take) {
  tell<size_t>(numAccesses, 0);
  tell<uint64_t>(count, 0);
  tell<uint64_t>(unclaimed, 0);
  return guarded([&] {
    checkGiven(step, "step");
    Accesses taken = take(*step->step);
    size_t number = accesses ? std::min(capacity, taken.known.size()) : 0;
    std::copy_n(taken.known.begin(), number, accesses);
    tell(numAccesses, number);
    tell(count, taken.count);
    tell(unclaimed, taken.unclaimed);
    taken.raise(step->step->manifest);
  });
}

nsa_status nsa_step_check_accesses(const nsa_step *step, nsa_access *accesses,
                                   size_t capacity, size_t *numAccesses,
                                   uint64_t *count, uint64_t *unclaimed) {
  return checkAccesses(step, accesses, capacity, numAccesses, count, unclaimed,
                       takeAccesses);
}

nsa_status nsa_step_check_records(const nsa_step *step, const void *buffer,
                                  size_t size, nsa_access *accesses,
                                  size_t capacity, size_t *numAccesses,
                                  uint64_t *count, uint64_t *unclaimed) {
  return checkAccesses(step, accesses, capacity, numAccesses, count, unclaimed,
                       [&](const Step &step) {
                         checkGiven(buffer, "buffer");
                         Accesses accesses;
                         accesses.add(step.manifest, buffer, size);
                         return accesses;
                       });
}

//===-- Bundles
//------------------------------------------------------------===//

nsa_status nsa_bundle_load(const char *directory, nsa_bundle **bundle) {
  return guarded([&] {
    checkGiven(directory, "directory");
    checkGiven(bundle, "bundle");
    auto loaded = std::make_unique<nsa_bundle>();
    for (auto &step : loadBundle(directory))
      loaded->steps.push_back({step});
    *bundle = loaded.release();
  });
}

void nsa_bundle_destroy(nsa_bundle *bundle) { delete bundle; }

size_t nsa_bundle_num_steps(const nsa_bundle *bundle) {
  return bundle->steps.size();
}

const nsa_step *nsa_bundle_step(const nsa_bundle *bundle, size_t index) {
  return index < bundle->steps.size() ? &bundle->steps[index] : nullptr;
}

const nsa_step *nsa_bundle_find(const nsa_bundle *bundle, const char *name) {
  for (const nsa_step &step : bundle->steps)
    if (name && step.step->manifest.step == name)
      return &step;
  return nullptr;
}

//===-- Bindings
//-----------------------------------------------------------===//

nsa_status nsa_step_bind(const nsa_step *step, const nsa_argument *arguments,
                         size_t numArguments, nsa_binding **binding) {
  return guarded([&] {
    checkGiven(binding, "binding");
    *binding = new nsa_binding{bind(step, arguments, numArguments)};
  });
}

nsa_status nsa_step_check(const nsa_step *step, const nsa_argument *arguments,
                          size_t numArguments, nsa_binding **binding) {
  return guarded([&] {
    checkGiven(binding, "binding");
    *binding = new nsa_binding{
        bind(step, arguments, numArguments, /*launches=*/false)};
  });
}

/// What `body` does with a binding.
template <typename Given, typename Body>
static nsa_status with(Given *binding, Body &&body) {
  return guarded([&] {
    checkGiven(binding, "binding");
    body(binding->binding);
  });
}

nsa_status nsa_binding_prepare(nsa_binding *binding, const int64_t *sizes) {
  return with(binding, [&](Binding &made) { made.prepare(sizes); });
}

nsa_status nsa_binding_kernel(const nsa_binding *binding, size_t index,
                              nsa_kernel_launch *launch) {
  return with(binding, [&](const Binding &made) {
    checkGiven(launch, "launch");
    *launch = made.kernel(index);
  });
}

nsa_status nsa_binding_array(const nsa_binding *binding, size_t index,
                             nsa_array *array) {
  return with(binding, [&](const Binding &made) {
    checkGiven(array, "array");
    *array = made.array(index);
  });
}

void nsa_binding_destroy(nsa_binding *binding) { delete binding; }

nsa_status nsa_binding_launch(nsa_binding *binding, const int64_t *sizes,
                              void *stream) {
  return with(binding, [&](Binding &made) { made.launch(sizes, stream); });
}

nsa_status nsa_binding_capture(nsa_binding *binding, const int64_t *sizes,
                               void *stream, nsa_graph_node **node) {
  return with(binding, [&](Binding &made) {
    checkGiven(node, "node");
    *node = new nsa_graph_node{made.capture(sizes, stream)};
  });
}

nsa_status nsa_binding_update(nsa_binding *binding, const nsa_graph_node *node,
                              void *graphExec, const int64_t *sizes) {
  return with(binding, [&](Binding &made) {
    checkGiven(node, "node");
    checkGiven(graphExec, "graph_exec");
    made.update(node->node, graphExec, sizes);
  });
}

void nsa_graph_node_destroy(nsa_graph_node *node) { delete node; }

void nsa_binding_device(const nsa_binding *binding, int32_t *deviceType,
                        int32_t *deviceId) {
  bool isCuda = binding->binding.isCuda();
  tell<int32_t>(deviceType, isCuda ? NSA_DEVICE_CUDA : NSA_DEVICE_CPU);
  tell<int32_t>(deviceId, binding->binding.device());
}

nsa_status nsa_step_launch(const nsa_step *step, const nsa_argument *arguments,
                           size_t numArguments, void *stream) {
  return guarded(
      [&] { bind(step, arguments, numArguments).launch(nullptr, stream); });
}
