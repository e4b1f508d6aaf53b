//===- FormLaunches.cpp - A launch for every destination ------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#define GEN_PASS_DEF_FORMLAUNCHES
#include "nsa/Transforms/Passes.h"

#include "nsa/Codegen/KernelParameters.h"

#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"

using namespace mlir;
using namespace nsa;

/// Creates a launch that writes `value` to `destinations`.
static LaunchOp createLaunch(OpBuilder &b, CopyOp copy, StringRef name,
                             ValueRange destinations) {
  Location loc = copy.getLoc();
  IndexSpace space = IndexSpace::of(copy.getValue());
  auto sizes = llvm::map_to_vector(space.sizes, [&](const Size &size) -> Value {
    return getValueOrCreateConstantIndexOp(b, loc, size.materialize(b, loc));
  });

  OpBuilder::InsertionGuard guard(b);
  auto launch = LaunchOp::create(b, loc, name, /*threads=*/IntegerAttr());
  b.setInsertionPointToStart(&launch.getBody().emplaceBlock());
  auto segment =
      SegmentOp::create(b, loc, space.kind, sizes, /*tiling=*/TilingAttr());
  b.setInsertionPointToStart(&segment.getBody().emplaceBlock());

  // Values move inside; sizes (scalars) stay outside, where the host can
  // evaluate them.
  BackwardSliceOptions options;
  options.inclusive = true;
  options.omitUsesFromAbove = false;
  options.filter = [](Operation *op) {
    return llvm::any_of(op->getResultTypes(),
                        llvm::IsaPred<TensorType, ExpansionType>);
  };
  llvm::SetVector<Operation *> slice;
  for (Value value : copy.getSources())
    (void)getBackwardSlice(value, &slice, options);
  IRMapping mapping;
  for (Operation *op : slice)
    b.clone(*op, mapping);
  auto clone = cast<CopyOp>(b.clone(*copy, mapping));
  clone.getDestinationsMutable().assign(destinations);
  return launch;
}

/// Creates launches that write the value of `copy` to `destinations`: one, if
/// its parameters fit `bytes`, else more.
static void createLaunches(OpBuilder &b, CopyOp copy, ValueRange destinations,
                           int64_t bytes) {
  auto step = cast<StepOp>(copy->getParentOp());
  auto first = cast<BlockArgument>(destinations.front());
  std::string name = (step.getSymName() + "_" + step.getPortName(first)).str();
  LaunchOp launch = createLaunch(b, copy, name, destinations);
  if (destinations.size() == 1 ||
      getParameterBytes(launch.getUsedPorts()) <= bytes)
    return;
  launch.erase();
  size_t half = destinations.size() / 2;
  createLaunches(b, copy, destinations.take_front(half), bytes);
  createLaunches(b, copy, destinations.drop_front(half), bytes);
}

/// Says which ports get the same value, while that can still be seen.
static void numberValues(StepOp step) {
  SmallVector<int64_t> numbers(step.getBody().getNumArguments(), -1);
  DenseMap<Value, int64_t> values;
  int64_t next = 0;
  for (CopyOp copy : step.getBody().getOps<CopyOp>()) {
    int64_t number = next;
    // What is stored in part, or elsewhere, is no other copy's value.
    if (copy.isPlain())
      number = values.try_emplace(copy.getValue(), next).first->second;
    next += number == next;
    for (Value destination : copy.getDestinations())
      numbers[cast<BlockArgument>(destination).getArgNumber()] = number;
  }
  step.setPortValues(numbers);
}

/// Whether `copy` stores what a value of another launch is computed from.
static bool storesSums(CopyOp copy) {
  return llvm::any_of(copy.getDestinations(), [](Value destination) {
    return llvm::any_of(destination.getUsers(), isValue);
  });
}

namespace {
struct FormLaunches : public nsa::impl::FormLaunchesBase<FormLaunches> {
  using Base::Base;

  void runOnOperation() override {
    StepOp step = getOperation();
    if (guards)
      step.setGuards(true);
    if (pdl)
      step.setPdl(true);
    Block &body = step.getBody().front();
    auto expectExpanded = [](CopyMetadataOp copy) {
      return expect(
          copy, false,
          "sets to be expanded; run 'nsa-expand-metadata-sets' before");
    };
    // Launches that are there have numbered their values.
    bool hasCopies = !body.getOps<CopyOp>().empty();
    if (!llvm::all_of(body.getOps<CopyMetadataOp>(), expectExpanded) ||
        !expect(step, !hasCopies || step.getLaunches().empty(),
                "copies or launches, but got both") ||
        (hasCopies && failed(formLaunches(step))))
      return signalPassFailure();
    // Values live in the launches now.
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(body)))
      if (isOpTriviallyDead(&op))
        op.erase();
  }

  LogicalResult formLaunches(StepOp step) {
    OpBuilder b(step);
    int64_t bytes = parameterBytes > 0
                        ? parameterBytes.getValue()
                        : TargetAttr::of(step).getParameterBytes();
    numberValues(step);
    // What values read is stored before, in the order of copies.
    SmallVector<CopyOp> copies(step.getBody().getOps<CopyOp>());
    auto *others =
        std::stable_partition(copies.begin(), copies.end(), storesSums);
    if (others != copies.begin())
      for (CopyOp copy : llvm::make_range(others, copies.end()))
        copy->moveBefore(&step.getBody().front(), step.getBody().front().end());
    for (CopyOp copy : copies) {
      if (!expectCopied(copy.getValue()))
        return failure();
      b.setInsertionPoint(copy);
      if (perCopy)
        createLaunches(b, copy, copy.getDestinations(), bytes);
      else
        for (Value destination : copy.getDestinations())
          createLaunches(b, copy, destination, bytes);
      copy.erase();
    }
    return success();
  }
};
} // namespace
