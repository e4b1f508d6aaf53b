//===- FuseLaunches.cpp - As few launches as a step can have --------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#define GEN_PASS_DEF_FUSELAUNCHES
#include "nsa/Transforms/Passes.h"

#include "nsa/Codegen/FormulaCost.h"
#include "nsa/Codegen/KernelParameters.h"

#include "mlir/IR/Dominance.h"
#include "mlir/IR/OperationSupport.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/CSE.h"

using namespace mlir;
using namespace nsa;

//===----------------------------------------------------------------------===//
// Segments
//===----------------------------------------------------------------------===//

/// Moves the body of `source` to the end of `target`.
static void append(SegmentOp target, SegmentOp source) {
  target.getBody().front().getOperations().splice(
      target.getBody().front().end(), source.getBody().front().getOperations());
  if (source.takesVectors())
    target.setKind(source.getKind());
  source.erase();
}

/// Whether two operations compute the same from the same, in two segments.
static bool areEquivalent(Operation *lhs, Operation *rhs) {
  // Every pair once, however many ways lead to it.
  llvm::DenseMap<std::pair<Operation *, Operation *>, bool> known;
  // What stands in formulas.
  llvm::DenseMap<Value, Value> inner;
  std::function<bool(Operation *, Operation *)> compare = [&](Operation *lhs,
                                                              Operation *rhs) {
    if (!lhs || !rhs || lhs == rhs)
      return lhs == rhs;
    if (auto it = known.find({lhs, rhs}); it != known.end())
      return it->second;
    auto haveEqualValues = [&](Value lhs, Value rhs) {
      Operation *op = lhs.getDefiningOp();
      return success(
          lhs == rhs || inner.lookup(lhs) == rhs ||
          (op && rhs.getDefiningOp() && compare(op, rhs.getDefiningOp())));
    };
    auto mark = [&](Value lhs, Value rhs) { inner[lhs] = rhs; };
    return known[{lhs, rhs}] = OperationEquivalence::isEquivalentTo(
               lhs, rhs, haveEqualValues, mark,
               OperationEquivalence::IgnoreLocations);
  };
  return compare(lhs, rhs);
}

/// Whether two segments run over the same requests, rows and columns.
static bool haveEqualSpaces(SegmentOp lhs, SegmentOp rhs) {
  return llvm::equal(lhs.getSizes(), rhs.getSizes()) &&
         areEquivalent(lhs.getExpansion(), rhs.getExpansion());
}

/// Whether the blocks of two segments of tiles each make something together,
/// as sums are, and nothing that the other's make: their blocks run beside each
/// other, where those of one segment would wait for both.
static bool makeOthers(SegmentOp lhs, SegmentOp rhs) {
  auto areMade = [](SegmentOp segment) {
    return llvm::make_filter_range(
        segment.getBody().getOps<SharedOpInterface>(),
        [](SharedOpInterface op) { return !op.getSharedRows(); });
  };
  auto ofLhs = areMade(lhs), ofRhs = areMade(rhs);
  return lhs.getKind() == SegmentKind::Tile && !ofLhs.empty() &&
         !ofRhs.empty() && llvm::none_of(ofLhs, [&](SharedOpInterface op) {
           return llvm::any_of(ofRhs, [&](SharedOpInterface other) {
             return areEquivalent(op, other);
           });
         });
}

/// Whether two segments over the same index space can be one: a tile has
/// elements of one size, and a block takes a row where there is something to
/// share in it.
static bool canJoin(SegmentOp lhs, SegmentOp rhs) {
  if (lhs.hasSharedRows() != rhs.hasSharedRows() || makeOthers(lhs, rhs))
    return false;
  auto isPlain = [](CopyOp copy) { return copy.isPlain(); };
  if (lhs.takesVectors() || rhs.takesVectors())
    return llvm::all_of(lhs.getCopies(), isPlain) &&
           llvm::all_of(rhs.getCopies(), isPlain);
  return lhs.getElementBits() == rhs.getElementBits();
}

/// Segments over the same index space run as one. Segments are independent, so
/// their order is free.
static void fuseEqualSpaces(LaunchOp launch) {
  SmallVector<SegmentOp> kept;
  for (SegmentOp segment : llvm::make_early_inc_range(launch.getSegments())) {
    auto it = llvm::find_if(kept, [&](SegmentOp other) {
      return haveEqualSpaces(other, segment) && canJoin(other, segment);
    });
    if (it == kept.end())
      kept.push_back(segment);
    else
      append(*it, segment);
  }
}

/// The arrays that formulas of `segment` read where another read says.
static llvm::SmallDenseSet<Value> getIndirectlyRead(SegmentOp segment) {
  llvm::SmallDenseSet<Value> arrays;
  segment.walk([&](ReadOp read) {
    if (isIndirect(read))
      arrays.insert(read.getSource());
  });
  return arrays;
}

/// Whether each element of `vector` is made from a row that is as long as the
/// table's, and read as indirectly: its blocks would take as long by themselves
/// as they do with the table.
static bool haveRowsInCommon(SegmentOp vector, SegmentOp table) {
  if (table.getKind() != SegmentKind::Tile || table.isWalked() ||
      table.getBody().getOps<MapOp>().empty())
    return false;
  for (Operation &op : table.getBody().front()) {
    auto map = dyn_cast<MapOp>(op);
    if (!isa<CopyOp>(op) && (!map || map.getPacked()))
      return false;
  }
  llvm::SmallDenseSet<Value> arrays = getIndirectlyRead(table);
  return !arrays.empty() && arrays == getIndirectlyRead(vector) &&
         llvm::all_of(vector.getBody().getOps<SharedOpInterface>(),
                      [&](SharedOpInterface op) {
                        Value source = op->getOperand(0);
                        auto type = cast<ShapedType>(source.getType());
                        return type.getRank() == 2 &&
                               Size::of(source, 1).isSameAs(
                                   Size::of(table.getSizes().back()));
                      });
}

/// Whether `vector` stores elements that the blocks of `table` can: they have
/// its rows, and what they are made from is made for the table anyhow, or each
/// is made from a row whose elements wait for what the table's elements wait
/// for.
static bool isOfRows(SegmentOp vector, SegmentOp table) {
  if (vector.getSizes().size() != 1 || table.getSizes().size() != 2 ||
      !vector.hasSharedRows() ||
      vector.getSizes().front() != table.getSizes().front())
    return false;
  if (!table.hasSharedRows())
    return haveRowsInCommon(vector, table);
  return llvm::all_of(
      vector.getBody().getOps<SharedOpInterface>(), [&](SharedOpInterface op) {
        return llvm::any_of(
            table.getBody().getOps<SharedOpInterface>(),
            [&](SharedOpInterface other) { return areEquivalent(op, other); });
      });
}

/// Elements of rows, as counts are, are stored by the blocks that make the sums
/// of these rows for a table.
static void fuseRows(LaunchOp launch) {
  for (SegmentOp segment : llvm::make_early_inc_range(launch.getSegments())) {
    auto segments = launch.getSegments();
    auto it = llvm::find_if(
        segments, [&](SegmentOp table) { return isOfRows(segment, table); });
    if (it != segments.end())
      append(*it, segment);
  }
}

/// The table in `segment` that is copied there and equals `table`, or null.
static Operation *findCopied(SegmentOp segment, Operation *table) {
  for (CopyOp copy : segment.getCopies()) {
    Operation *op = getRequestValue(copy.getValue()).getDefiningOp();
    if (op && !segment.isPicked(copy) && areEquivalent(op, table))
      return op;
  }
  return nullptr;
}

/// Page tables in pages are a selection of the elements of the table in tokens;
/// where that is copied, they are picked from it as it passes.
static void fusePicked(LaunchOp launch) {
  for (SegmentOp segment : llvm::make_early_inc_range(launch.getSegments())) {
    if (!llvm::hasSingleElement(segment.getCopies()))
      continue;
    CopyOp copy = *segment.getCopies().begin();
    auto pick =
        getRequestValue(copy.getValue()).getDefiningOp<PickOpInterface>();
    Value source = pick && copy.isPlain() ? pick.getPickedFrom() : Value();
    Operation *table = source ? source.getDefiningOp() : nullptr;
    if (!table)
      continue;
    for (SegmentOp other : launch.getSegments()) {
      if (other == segment || !canJoin(other, segment) ||
          !areEquivalent(other.getExpansion(), segment.getExpansion()))
        continue;
      if (Operation *copied = findCopied(other, table)) {
        append(other, segment);
        table->replaceAllUsesWith(copied);
        table->erase();
        break;
      }
    }
  }
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

/// The ports that two launches use together.
static SmallVector<BlockArgument> getUnion(ArrayRef<BlockArgument> lhs,
                                           ArrayRef<BlockArgument> rhs) {
  SmallVector<BlockArgument> result;
  std::set_union(lhs.begin(), lhs.end(), rhs.begin(), rhs.end(),
                 std::back_inserter(result), StepOp::isBefore);
  return result;
}

/// Whether a value of `launch` reads what `other` stores.
static bool readsFrom(LaunchOp launch, LaunchOp other) {
  auto isRead = [&](Value destination) {
    return llvm::any_of(destination.getUsers(), [&](Operation *user) {
      return isValue(user) && launch->isProperAncestor(user);
    });
  };
  return !expectEach<CopyOp>(other, [&](CopyOp copy) {
    return llvm::none_of(copy.getDestinations(), isRead);
  });
}

namespace {
struct FuseLaunches : public nsa::impl::FuseLaunchesBase<FuseLaunches> {
  using Base::Base;

  void runOnOperation() override {
    StepOp step = getOperation();
    SmallVector<LaunchOp> launches(step.getLaunches());
    if (launches.empty())
      return;

    // Sizes are computed between launches; they have to come before all of
    // them. They are pure and depend on ports only.
    for (Operation &op : llvm::make_early_inc_range(llvm::make_range(
             launches.front()->getIterator(), step.getBody().front().end())))
      if (!isa<LaunchOp>(op))
        op.moveBefore(launches.front());

    int64_t mostBytes = parameterBytes > 0
                            ? parameterBytes.getValue()
                            : TargetAttr::of(step).getParameterBytes();
    SmallVector<LaunchOp> fused;
    SmallVector<BlockArgument> ports;
    for (LaunchOp launch : launches) {
      SmallVector<BlockArgument> added = launch.getUsedPorts();
      SmallVector<BlockArgument> both = getUnion(ports, added);
      bool hasToWait = !fused.empty() && readsFrom(launch, fused.back());
      if (!fused.empty() && !hasToWait &&
          getParameterBytes(both) <= mostBytes) {
        ports = std::move(both);
        Block &body = fused.back().getBody().front();
        body.getOperations().splice(body.end(),
                                    launch.getBody().front().getOperations());
        launch.erase();
        continue;
      }
      if (hasToWait)
        remark::missed(launch.getLoc(), remarkBy("FuseLaunches"))
            << remark::add("began another launch")
            << remark::reason("it reads sums that the launch before stores");
      else if (!fused.empty())
        remark::missed(launch.getLoc(), remarkBy("FuseLaunches"))
            << remark::add("began another launch")
            << remark::reason(
                   "one launch would have {0} bytes of parameters, and {1} is "
                   "the limit",
                   getParameterBytes(both), mostBytes);
      ports = std::move(added);
      fused.push_back(launch);
    }

    for (auto [number, launch] : llvm::enumerate(fused)) {
      std::string name = step.getSymName().str();
      if (fused.size() > 1)
        name += "_" + std::to_string(number);
      launch.setSymName(name);
      fuseEqualSpaces(launch);
      fuseRows(launch);
      fusePicked(launch);
    }

    // Values that segments had in common are one now, as their verifiers want.
    IRRewriter rewriter(&getContext());
    DominanceInfo dominance;
    eliminateCommonSubExpressions(rewriter, dominance, step);

    if (launches.size() == fused.size())
      return;
    size_t segments = 0;
    for (LaunchOp launch : fused)
      segments += llvm::range_size(launch.getSegments());
    remark::passed(step.getLoc(), remarkBy("FuseLaunches"))
        << remark::add("fused {0} launches into {1} with {2} segments",
                       launches.size(), fused.size(), segments);
  }
};
} // namespace
