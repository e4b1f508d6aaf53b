//===- FormLaunches.cpp - A launch for every destination ------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/IR/KernelParameters.h"
#include "nsa/Target/TargetModel.h"
#include "nsa/Transforms/Passes.h"

#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"

namespace nsa {
#define GEN_PASS_DEF_FORMLAUNCHES
#include "nsa/Transforms/Passes.h.inc"
} // namespace nsa

using namespace mlir;
using namespace nsa;

static SegmentKind getKind(Value value) {
  if (getExpansion(value))
    return SegmentKind::Expand;
  return dependsOnScan(value) ? SegmentKind::Scan : SegmentKind::Tile;
}

/// The cumulative sum that `value` is made from.
static CuSeqlensOp getScan(Value value) {
  while (!value.getDefiningOp<CuSeqlensOp>())
    value = *llvm::find_if(value.getDefiningOp()->getOperands(), dependsOnScan);
  return value.getDefiningOp<CuSeqlensOp>();
}

/// The number of requests whose expansion gives the rows of `value`.
static OpFoldResult getNumRequests(OpBuilder &b, Location loc, Value value) {
  Operation *op = value.getDefiningOp();
  if (isa<ExpandSeqlensOp, ExpandRowsOp>(op))
    return getDimSize(b, loc, op->getOperand(0), 0);
  if (auto ranges = dyn_cast<TokenRangesOp>(op))
    return getDimSize(b, loc, ranges.getRows(), 0);
  if (auto total = dyn_cast<TotalRowsOp>(op))
    return getDimSize(b, loc, getExpansion(value).getExtend(), 0);
  return getNumRequests(b, loc,
                        *llvm::find_if(op->getOperands(), getExpansion));
}

/// The index space that a copy of `value` runs over: its own sizes, but for
/// the rows that a scan walks and the requests that an expansion starts from.
static SmallVector<Value> getIndexSpace(OpBuilder &b, Location loc,
                                        Value value) {
  SmallVector<OpFoldResult> sizes = getSizes(b, loc, value);
  switch (getKind(value)) {
  case SegmentKind::Scan:
    // The last element of a cumulative sum is written after the walk.
    sizes = getSizes(b, loc, getScan(value).getSource());
    break;
  case SegmentKind::Expand:
    sizes[0] = getNumRequests(b, loc, value);
    break;
  case SegmentKind::Tile:
    break;
  }
  return llvm::map_to_vector(sizes, [&](OpFoldResult size) -> Value {
    return getValueOrCreateConstantIndexOp(b, loc, size);
  });
}

/// Sums over a request's rows are computed without visiting them, which is
/// known for lengths that are expanded and perhaps clipped.
static LogicalResult verifyExpandedScan(Value value) {
  if (!getExpansion(value) || !dependsOnScan(value))
    return success();
  CuSeqlensOp scan = getScan(value);
  Value source = scan.getSource();
  if (auto clip = source.getDefiningOp<ClipSeqlensOp>())
    source = clip.getSource();
  if (source.getDefiningOp<ExpandSeqlensOp>())
    return success();
  return scan.emitOpError("expected the rows that it adds up to be "
                          "'nsa.expand_seqlens' or a clip of it");
}

/// Rows are repeated where they are stored, so nothing is computed from
/// repeated rows; canonicalisation moves `nsa.expand_rows` outwards.
static LogicalResult verifyExpandedRows(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op || isa<ExpandRowsOp>(op))
    return success();
  for (Value operand : op->getOperands())
    if (operand.getDefiningOp<ExpandRowsOp>())
      return op->emitOpError("expected a source that is not 'nsa.expand_rows'; "
                             "run 'canonicalize' before");
  return success();
}

/// Creates a launch that writes `value` to `destinations`.
static LaunchOp createLaunch(OpBuilder &b, CopyOp copy, StringRef name,
                             ValueRange destinations) {
  Location loc = copy.getLoc();
  SmallVector<Value> sizes = getIndexSpace(b, loc, copy.getValue());

  OpBuilder::InsertionGuard guard(b);
  auto launch = LaunchOp::create(b, loc, name);
  b.setInsertionPointToStart(&launch.getBody().emplaceBlock());
  auto segment = SegmentOp::create(b, loc, getKind(copy.getValue()), sizes);
  b.setInsertionPointToStart(&segment.getBody().emplaceBlock());

  // Values move inside; sizes (scalars) stay outside, where the host can
  // evaluate them.
  BackwardSliceOptions options;
  options.inclusive = true;
  options.filter = [](Operation *op) {
    return llvm::any_of(op->getResultTypes(),
                        llvm::IsaPred<TensorType, ExpansionType>);
  };
  llvm::SetVector<Operation *> slice;
  (void)getBackwardSlice(copy.getValue(), &slice, options);
  IRMapping mapping;
  for (Operation *op : slice)
    b.clone(*op, mapping);
  CopyOp::create(b, loc, mapping.lookupOrDefault(copy.getValue()), destinations,
                 copy.getFrom());
  return launch;
}

/// Creates launches that write the value of `copy` to `destinations`: one, if
/// its parameters fit, else more.
static void createLaunches(OpBuilder &b, CopyOp copy, ValueRange destinations) {
  auto step = cast<StepOp>(copy->getParentOp());
  auto first = cast<BlockArgument>(destinations.front());
  std::string name = (step.getSymName() + "_" + step.getPortName(first)).str();
  LaunchOp launch = createLaunch(b, copy, name, destinations);
  if (destinations.size() == 1 ||
      getParameterBytes(launch.getUsedPorts()) <= TargetModel::parameterBytes)
    return;
  launch.erase();
  size_t half = destinations.size() / 2;
  createLaunches(b, copy, destinations.take_front(half));
  createLaunches(b, copy, destinations.drop_front(half));
}

/// Says which ports get the same value, while that can still be seen.
static void numberValues(StepOp step) {
  SmallVector<int64_t> numbers(step.getBody().getNumArguments(), -1);
  DenseMap<Value, int64_t> values;
  for (CopyOp copy : step.getBody().getOps<CopyOp>()) {
    int64_t number =
        values.try_emplace(copy.getValue(), values.size()).first->second;
    for (Value destination : copy.getDestinations())
      numbers[cast<BlockArgument>(destination).getArgNumber()] = number;
  }
  step.setPortValues(numbers);
}

namespace {
struct FormLaunches : public nsa::impl::FormLaunchesBase<FormLaunches> {
  using Base::Base;

  void runOnOperation() override {
    StepOp step = getOperation();
    OpBuilder b(step);
    if (guards)
      step.setGuards(true);
    numberValues(step);
    for (CopyOp copy :
         llvm::make_early_inc_range(step.getBody().getOps<CopyOp>())) {
      if (failed(verifyExpandedScan(copy.getValue())) ||
          failed(verifyExpandedRows(copy.getValue())))
        return signalPassFailure();
      b.setInsertionPoint(copy);
      if (perCopy)
        createLaunches(b, copy, copy.getDestinations());
      else
        for (Value destination : copy.getDestinations())
          createLaunches(b, copy, destination);
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
