//===- FormLaunches.cpp - A launch for every destination ------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/Transforms/Passes.h"

#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"

namespace nsa {
#define GEN_PASS_DEF_FORMLAUNCHES
#include "nsa/Transforms/Passes.h.inc"
} // namespace nsa

using namespace mlir;
using namespace nsa;

/// The index space that a copy of `value` runs over: the rows of the scan if it
/// needs one, else its own sizes.
static SmallVector<Value> getIndexSpace(OpBuilder &b, Location loc,
                                        Value value, SegmentKind kind) {
  if (kind == SegmentKind::Scan)
    // The last element of a cumulative sum is written after the walk.
    while (!isa<CuSeqlensOp>(value.getDefiningOp()))
      value = *llvm::find_if(value.getDefiningOp()->getOperands(),
                             dependsOnScan);
  if (kind == SegmentKind::Scan)
    value = cast<CuSeqlensOp>(value.getDefiningOp()).getSource();
  return llvm::map_to_vector(getSizes(b, loc, value), [&](OpFoldResult size) -> Value {
    return getValueOrCreateConstantIndexOp(b, loc, size);
  });
}

/// Creates a launch that writes `value` to `destinations`.
static void createLaunch(OpBuilder &b, CopyOp copy, StringRef name,
                         ValueRange destinations) {
  Location loc = copy.getLoc();
  SegmentKind kind = dependsOnScan(copy.getValue()) ? SegmentKind::Scan
                                                    : SegmentKind::Tile;
  SmallVector<Value> sizes = getIndexSpace(b, loc, copy.getValue(), kind);

  OpBuilder::InsertionGuard guard(b);
  auto launch = LaunchOp::create(b, loc, name);
  b.setInsertionPointToStart(&launch.getBody().emplaceBlock());
  auto segment = SegmentOp::create(b, loc, kind, sizes);
  b.setInsertionPointToStart(&segment.getBody().emplaceBlock());

  // Values move inside; sizes (scalars) stay outside, where the host can
  // evaluate them.
  BackwardSliceOptions options;
  options.inclusive = true;
  options.filter = [](Operation *op) {
    return llvm::any_of(op->getResultTypes(), llvm::IsaPred<TensorType>);
  };
  llvm::SetVector<Operation *> slice;
  (void)getBackwardSlice(copy.getValue(), &slice, options);
  IRMapping mapping;
  for (Operation *op : slice)
    b.clone(*op, mapping);
  CopyOp::create(b, loc, mapping.lookupOrDefault(copy.getValue()),
                 destinations, copy.getFrom());
}

namespace {
struct FormLaunches : public nsa::impl::FormLaunchesBase<FormLaunches> {
  using Base::Base;

  void runOnOperation() override {
    StepOp step = getOperation();
    OpBuilder b(step);
    if (guards)
      step.setGuards(true);
    for (CopyOp copy :
         llvm::make_early_inc_range(step.getBody().getOps<CopyOp>())) {
      b.setInsertionPoint(copy);
      auto form = [&](ValueRange destinations) {
        auto first = cast<BlockArgument>(destinations.front());
        std::string name =
            (step.getSymName() + "_" + step.getPortName(first)).str();
        createLaunch(b, copy, name, destinations);
      };
      if (perCopy)
        form(copy.getDestinations());
      else
        for (Value destination : copy.getDestinations())
          form(destination);
      copy.erase();
    }
    // Values live in the launches now.
    for (Operation &op :
         llvm::make_early_inc_range(llvm::reverse(step.getBody().front())))
      if (isOpTriviallyDead(&op))
        op.erase();
  }
};
} // namespace
