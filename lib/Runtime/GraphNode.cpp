//===- GraphNode.cpp - A step that was captured in a graph ----------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "GraphNode.h"
#include "Binding.h"
#include "Error.h"

using namespace nsa::runtime;

/// Where a binding stands whose kernels are to be in a graph.
static Driver &requireGraphs(const Step &step, bool isCuda, bool launches) {
  const std::string &name = step.manifest.step;
  if (!launches)
    fail(NSA_NO_KERNEL, "step '", name,
         "': this binding was made to check arguments, not to launch");
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
