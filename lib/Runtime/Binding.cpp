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
    : step(std::move(stepToBind)), arguments(std::move(bound)),
      current(arguments.sizes), launches(toLaunch) {
  auto dim = [&](int64_t argument, int64_t d) {
    return arguments.arrays[argument].shape[d];
  };
  for (const Require &require : step->manifest.requires_) {
    Check check{&require, require.atLeast.fold(dim),
                dim(require.argument, require.dim)};
    // What depends on no size is settled here, once and for all.
    if (!check.atLeast.isConstant())
      checks.push_back(std::move(check));
    else if (int64_t atLeast = evaluate(check.atLeast); check.actual < atLeast)
      failRequire(check, atLeast);
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
    const Extent &array = arguments.arrays[parameter.argument];
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
  for (const SegmentSpec &segment : spec.segments)
    kernel.segments.push_back({segment.rows.fold(dim),
                               segment.columns.fold(dim),
                               {segment.tile[0], segment.tile[1]}});
  kernels.push_back(std::move(kernel));
}

int64_t Binding::evaluate(const SizeExpr &expr) const {
  int64_t value;
  if (!expr.evaluate(current.data(), value))
    fail(NSA_INVALID_ARGUMENT, "step '", step->manifest.step,
         "': a size expression leaves 64 bits");
  return value;
}

void Binding::failRequire(const Check &check, int64_t atLeast) const {
  const Manifest &manifest = step->manifest;
  const Require &require = *check.require;
  fail(NSA_INVALID_ARGUMENT, "argument '",
       manifest.arguments[require.argument].name, "': expected shape[",
       require.dim, "] to be at least ", atLeast,
       require.atLeast.isConstant()
           ? ""
           : " (" + manifest.str(require.atLeast) + ")",
       " but got ", check.actual);
}

void Binding::resolveSizes(const int64_t *sizes) {
  const Manifest &manifest = step->manifest;
  for (size_t i = 0, e = current.size(); i != e; ++i) {
    bool asBound = !sizes || sizes[i] == NSA_SIZE_AS_BOUND;
    current[i] = asBound ? arguments.sizes[i] : sizes[i];
    if (asBound && current[i] == unsetSize)
      failUnsetSize(manifest, static_cast<int64_t>(i), arguments.arrays);
    checkSize(manifest.arguments[manifest.sizes[i]], current[i]);
  }
}

void Binding::computeGrid(Kernel &kernel) {
  // In 128 bits, what no launch can have cannot wrap to something that it can.
  __int128 blocks = 0;
  for (const Segment &segment : kernel.segments) {
    int64_t rows = evaluate(segment.rows);
    int64_t columns = evaluate(segment.columns);
    if (rows <= 0 || columns <= 0)
      continue;
    auto tiles = [](int64_t size, int64_t tile) {
      return size / tile + (size % tile != 0);
    };
    blocks += static_cast<__int128>(tiles(rows, segment.tile[0])) *
              tiles(columns, segment.tile[1]);
    if (blocks > INT32_MAX)
      fail(NSA_INVALID_ARGUMENT, "step '", step->manifest.step, "': kernel '",
           kernel.spec->name,
           "' would need more than 2147483647 blocks for these sizes");
  }
  kernel.blocks = static_cast<int64_t>(blocks);
  for (auto [place, size] : kernel.sizeValues)
    kernel.values[place] = current[size];
}

void Binding::prepare(const int64_t *sizes) {
  resolveSizes(sizes);
  for (const Check &check : checks)
    if (int64_t atLeast = evaluate(check.atLeast); check.actual < atLeast)
      failRequire(check, atLeast);
  for (Kernel &kernel : kernels)
    computeGrid(kernel);
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
  const Extent &extent = arguments.arrays[argument];
  nsa_array array{};
  array.data = reinterpret_cast<void *>(extent.base);
  array.device_type = arguments.cuda ? NSA_DEVICE_CUDA : NSA_DEVICE_CPU;
  array.device_id = arguments.device;
  array.dtype_bits = static_cast<uint8_t>(8 * extent.itemSize);
  array.ndim = static_cast<int32_t>(extent.shape.size());
  array.shape = extent.shape.data();
  array.strides = extent.strides.data();
  return array;
}

void Binding::launch(const int64_t *sizes, void *stream) {
  if (!launches)
    fail(NSA_NO_KERNEL, "step '", step->manifest.step,
         "': this binding was made to check arguments, not to launch");
  prepare(sizes);

  // Every check has passed: from here on, things are launched.
  if (!arguments.cuda) {
    for (Kernel &kernel : kernels)
      if (kernel.blocks != 0)
        kernel.hostFunction(kernel.pointers.data());
    return;
  }
  Driver &driver = Driver::get();
  ContextScope scope(driver, context);
  for (Kernel &kernel : kernels)
    if (kernel.blocks != 0)
      driver.check(driver.cuLaunchKernel(
                       kernel.deviceFunction,
                       static_cast<unsigned>(kernel.blocks), 1, 1,
                       static_cast<unsigned>(kernel.spec->threads), 1, 1,
                       /*sharedMemBytes=*/0, static_cast<CUstream>(stream),
                       kernel.pointers.data(), nullptr),
                   "cuLaunchKernel");
}
