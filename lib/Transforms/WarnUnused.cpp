//===- WarnUnused.cpp - Warns of what a step has for nothing --------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#define GEN_PASS_DEF_WARNUNUSED
#include "nsa/Transforms/Passes.h"

#include "nsa/IR/NSADialect.h"

#include "llvm/ADT/SmallSet.h"

using namespace mlir;
using namespace nsa;

/// The numbers of the ports that are extents of others.
static llvm::SmallSet<int64_t, 8> getExtents(StepOp step) {
  llvm::SmallSet<int64_t, 8> numbers;
  for (Attribute extents : step.getExtents())
    for (int64_t number : cast<DenseI64ArrayAttr>(extents).asArrayRef())
      numbers.insert(number);
  return numbers;
}

namespace {
struct WarnUnused : public nsa::impl::WarnUnusedBase<WarnUnused> {
  void runOnOperation() override {
    StepOp step = getOperation();
    llvm::SmallSet<int64_t, 8> extents = getExtents(step);
    Block &body = step.getBody().front();
    // Verifiers see to it that `out` ports are written.
    for (BlockArgument port : body.getArguments())
      if (port.use_empty() && !extents.contains(port.getArgNumber()))
        emitWarning(port.getLoc())
            << "nothing uses port '" << step.getPortName(port) << "'";
    body.walk([](Operation *op) {
      if (isOpTriviallyDead(op))
        op->emitWarning("nothing uses this value");
    });
    markAllAnalysesPreserved();
  }
};
} // namespace
