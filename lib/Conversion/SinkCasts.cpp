//===- SinkCasts.cpp - Casts of indices stand where they are used ---------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#define GEN_PASS_DEF_SINKCASTS
#include "nsa/Conversion/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Dominance.h"
#include "mlir/Transforms/ControlFlowSinkUtils.h"

using namespace mlir;
using namespace nsa;

namespace {
struct SinkCasts : public nsa::impl::SinkCastsBase<SinkCasts> {
  void runOnOperation() override {
    auto &dominance = getAnalysis<DominanceInfo>();
    getOperation()->walk([&](scf::IfOp branch) {
      controlFlowSink(
          RegionRange(branch->getRegions()), dominance,
          [](Operation *op, Region *) {
            return isa<arith::IndexCastOp, arith::IndexCastUIOp>(op);
          },
          [](Operation *op, Region *region) {
            op->moveBefore(&region->front(), region->front().begin());
          });
    });
  }
};
} // namespace
