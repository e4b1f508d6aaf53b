//===- Binding.cpp - A step with its arrays, ready to launch --------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Binding.h"
#include "Error.h"

using namespace nsa::runtime;

Binding::Binding(std::shared_ptr<const Step> stepToBind, BoundArguments bound,
                 bool toLaunch)
    : step(std::move(stepToBind)), signature(step->manifest.signature()),
      arguments(std::move(bound)), current(arguments.sizes),
      launches(toLaunch) {
  auto dim = [&](int64_t argument, int64_t d) {
    return arguments.arrays[argument].shape[d];
  };
  for (size_t i = 0, e = signature.num_requirements; i != e; ++i) {
    const nsa_requirement &requirement = signature.requirements[i];
    if (nsa_is_missing(&signature.ports[requirement.argument],
                       &arguments.arrays[requirement.argument]))
      continue;
    Check check{&requirement, step->manifest.requires_[i].atLeast.fold(dim),
                dim(requirement.argument, requirement.dim)};
    // What depends on no size is settled here, once and for all.
    if (nsa_is_settled(requirement.at_least))
      require(check);
    else
      checks.push_back(std::move(check));
  }
  for (const KernelSpec &spec : step->manifest.kernels)
    addKernel(spec);
  for (Kernel &kernel : kernels)
    for (size_t i = 0, e = kernel.values.size(); i != e; ++i)
      kernel.pointers.push_back(&kernel.values[i]);

  if (!launches)
    return;
  if (arguments.cuda) {
    const DeviceModule &module = step->deviceKernels(arguments.device);
    context = module.context;
    for (size_t i = 0, e = kernels.size(); i != e; ++i)
      kernels[i].deviceFunction = module.functions[i];
  } else {
    const std::vector<nsa_host_fn> &functions = step->hostKernels();
    for (size_t i = 0, e = kernels.size(); i != e; ++i)
      kernels[i].hostFunction = functions[i];
  }
}

void Binding::addKernel(const KernelSpec &spec) {
  Kernel kernel;
  kernel.spec = &spec;
  for (const ParameterSpec &parameter : spec.parameters) {
    const nsa_strided &array = arguments.arrays[parameter.argument];
    int64_t value = 0;
    switch (parameter.field) {
    case ParameterSpec::Field::Pointer:
      value = static_cast<int64_t>(array.base);
      break;
    case ParameterSpec::Field::Stride:
      value = array.strides[parameter.dim];
      break;
    case ParameterSpec::Field::Size:
      value = array.shape[parameter.dim];
      break;
    case ParameterSpec::Field::Presence:
      for (size_t i = 0, e = parameter.arguments.size(); i != e; ++i)
        if (arguments.arrays[parameter.arguments[i]].base != 0)
          value |= static_cast<int64_t>(uint64_t(1) << i);
      break;
    case ParameterSpec::Field::Value:
      kernel.sizeValues.emplace_back(
          kernel.values.size(),
          step->manifest.arguments[parameter.argument].sizeIndex);
      break;
    }
    kernel.values.push_back(value);
  }
  auto dim = [&](int64_t argument, int64_t d) {
    return arguments.arrays[argument].shape[d];
  };
  for (const SegmentSpec &segment : spec.segments) {
    auto fold = [&](const SizeExpr &size) {
      return kernel.sizes.emplace_back(size.fold(dim)).get();
    };
    nsa_size rows = fold(segment.rows), columns = fold(segment.columns);
    kernel.segments.push_back({rows,
                               columns,
                               {segment.tile[0], segment.tile[1]},
                               segment.anyOf.data(),
                               segment.anyOf.size()});
  }
  kernels.push_back(std::move(kernel));
}

void Binding::require(const Check &check) const {
  nsa_message message;
  int64_t atLeast;
  throwIfFailed(nsa_compute(&signature, check.atLeast.get(), nullptr,
                            current.data(), &atLeast, &message),
                message);
  if (check.actual >= atLeast)
    return;
  throwIfFailed(nsa_fail_requirement(&signature, check.requirement, atLeast,
                                     check.actual, &message),
                message);
}

void Binding::resolveSizes(const int64_t *sizes) {
  nsa_message message;
  for (size_t i = 0, e = current.size(); i != e; ++i) {
    bool asBound = !sizes || sizes[i] == NSA_SIZE_AS_BOUND;
    current[i] = asBound ? arguments.sizes[i] : sizes[i];
    if (asBound && current[i] == NSA_SIZE_UNSET)
      throwIfFailed(
          nsa_fail_unset(&signature, arguments.arrays.data(), i, &message),
          message);
    throwIfFailed(nsa_check_size(&signature.ports[signature.sizes[i]],
                                 current[i], &message),
                  message);
  }
}

void Binding::computeGrid(Kernel &kernel) {
  nsa_kernel grid{kernel.spec->name.c_str(), kernel.segments.data(),
                  kernel.segments.size()};
  nsa_message message;
  throwIfFailed(nsa_count_blocks(&signature, &grid, arguments.arrays.data(),
                                 current.data(), &kernel.blocks, &message),
                message);
  for (auto [place, size] : kernel.sizeValues)
    kernel.values[place] = current[size];
}

bool Binding::isPreparedFor(const int64_t *sizes) const {
  for (size_t i = 0, e = current.size(); i != e; ++i) {
    bool asBound = !sizes || sizes[i] == NSA_SIZE_AS_BOUND;
    if (current[i] != (asBound ? arguments.sizes[i] : sizes[i]))
      return false;
  }
  return isPrepared;
}

void Binding::prepare(const int64_t *sizes) {
  // All of it follows from the arrays and the sizes.
  if (isPreparedFor(sizes))
    return;
  isPrepared = false;
  resolveSizes(sizes);
  for (const Check &check : checks)
    require(check);
  for (Kernel &kernel : kernels)
    computeGrid(kernel);
  isPrepared = true;
}

nsa_kernel_launch Binding::kernel(size_t index) const {
  if (index >= kernels.size())
    fail(NSA_INVALID_ARGUMENT, "argument 'index': expected one of ",
         kernels.size(), " kernels but got ", index);
  const Kernel &kernel = kernels[index];
  return {kernel.spec->name.c_str(), kernel.blocks, kernel.values.data(),
          kernel.values.size()};
}

nsa_array Binding::array(size_t argument) const {
  if (argument >= arguments.arrays.size())
    fail(NSA_INVALID_ARGUMENT, "argument 'index': expected one of ",
         arguments.arrays.size(), " arguments but got ", argument);
  const nsa_strided &strided = arguments.arrays[argument];
  nsa_array array{};
  array.data = reinterpret_cast<void *>(strided.base);
  array.device_type = arguments.cuda ? NSA_DEVICE_CUDA : NSA_DEVICE_CPU;
  array.device_id = arguments.device;
  array.dtype_bits = static_cast<uint8_t>(8 * strided.item_size);
  array.ndim = strided.ndim;
  array.shape = strided.shape;
  array.strides = strided.strides;
  return array;
}

static void requireLaunches(const Step &step, bool launches) {
  if (!launches)
    fail(NSA_NO_KERNEL, "step '", step.manifest.step,
         "': this binding was made to check arguments, not to launch");
}

void Binding::launch(const int64_t *sizes, void *stream) {
  requireLaunches(*step, launches);
  prepare(sizes);

  // Every check has passed: from here on, things are launched.
  if (!arguments.cuda) {
    for (Kernel &kernel : kernels)
      if (kernel.blocks != 0)
        kernel.hostFunction(kernel.pointers.data());
    return;
  }
  ContextScope scope(Driver::get(), context);
  for (Kernel &kernel : kernels)
    if (kernel.blocks != 0)
      launch(kernel, static_cast<CUstream>(stream));
}

void Binding::launch(Kernel &kernel, CUstream stream) {
  Driver::get().launch(kernel.deviceFunction,
                       static_cast<unsigned>(kernel.blocks),
                       static_cast<unsigned>(kernel.spec->threads), stream,
                       kernel.values, step->manifest.pdl);
}

//===----------------------------------------------------------------------===//
// Graphs
//===----------------------------------------------------------------------===//

/// Where a binding stands whose kernels are to be in a graph.
static Driver &requireGraphs(const Step &step, bool isCuda, bool launches) {
  const std::string &name = step.manifest.step;
  requireLaunches(step, launches);
  if (!isCuda)
    fail(NSA_INVALID_ARGUMENT, "step '", name,
         "': expected arrays on a GPU to capture it, but they are on the cpu");
  Driver &driver = Driver::get();
  if (!driver.canUpdateGraphs())
    fail(NSA_DRIVER, "step '", name,
         "': the CUDA driver is too old to update the nodes of a graph");
  return driver;
}

GraphNode Binding::capture(const int64_t *sizes, void *stream) {
  Driver &driver = requireGraphs(*step, arguments.cuda, launches);
  prepare(sizes);
  for (const Kernel &kernel : kernels)
    if (kernel.blocks == 0)
      fail(NSA_INVALID_ARGUMENT, "step '", step->manifest.step, "': kernel '",
           kernel.spec->name,
           "' would have no blocks: expected the greatest sizes, which are to "
           "be captured");
  ContextScope scope(driver, context);
  auto *where = static_cast<CUstream>(stream);
  if (!driver.captureInfo(where))
    failArgument(NSA_INVALID_ARGUMENT, "stream",
                 "expected a stream that is being captured");
  GraphNode captured;
  for (Kernel &kernel : kernels) {
    launch(kernel, where);
    CUgraphNode node = driver.captureInfo(where)->last;
    if (!node)
      fail(NSA_DRIVER, "step '", step->manifest.step,
           "': the capture ended while its kernels were launched");
    captured.kernels.push_back({node, kernel.deviceFunction});
  }
  return captured;
}

void Binding::update(const GraphNode &captured, void *graph,
                     const int64_t *sizes) {
  Driver &driver = requireGraphs(*step, arguments.cuda, launches);
  bool isSame = captured.kernels.size() == kernels.size();
  for (size_t i = 0, e = kernels.size(); isSame && i != e; ++i)
    isSame = captured.kernels[i].function == kernels[i].deviceFunction;
  if (!isSame)
    failArgument(NSA_INVALID_ARGUMENT, "node", "expected one of step '",
                 step->manifest.step,
                 "' on the device and in the context of these arrays");
  prepare(sizes);
  ContextScope scope(driver, context);
  auto *exec = static_cast<CUgraphExec>(graph);
  for (size_t i = 0, e = kernels.size(); i != e; ++i) {
    Kernel &kernel = kernels[i];
    CUgraphNode node = captured.kernels[i].node;
    if (kernel.blocks != 0)
      driver.setKernelNode(exec, node, kernel.deviceFunction,
                           static_cast<unsigned>(kernel.blocks),
                           static_cast<unsigned>(kernel.spec->threads),
                           kernel.pointers.data());
    driver.enableNode(exec, node, kernel.blocks != 0);
  }
}
