//===- NarrowArithmetic.cpp - 32 bits where ranges allow it ---------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Not upstream's `arith-int-range-narrowing`: that of LLVM 22 computes signed
// minima of numbers from 2^31 on, unsigned remainders of negative ones, and
// shifts by 32 and more.
//
//===----------------------------------------------------------------------===//

#define GEN_PASS_DEF_NARROWARITHMETIC
#include "nsa/Conversion/Passes.h"

#include "nsa/Codegen/Arith.h"

#include "mlir/Analysis/DataFlow/IntegerRangeAnalysis.h"
#include "mlir/Analysis/DataFlow/Utils.h"
#include "mlir/Analysis/DataFlowFramework.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace nsa;

/// Says of what a kernel is launched with as a size that it has 32 bits.
static void narrowArguments(gpu::GPUFuncOp kernel) {
  OpBuilder b = OpBuilder::atBlockBegin(&kernel.getBody().front());
  Arith math(b, kernel.getLoc());
  for (BlockArgument argument : kernel.getArguments()) {
    if (!argument.getType().isIndex() || argument.use_empty())
      continue;
    Value narrow = math.toI32(argument);
    argument.replaceAllUsesExcept(math.toIndex(narrow), narrow.getDefiningOp());
  }
}

namespace {
class Ranges {
public:
  explicit Ranges(DataFlowSolver &solver) : solver(solver) {}

  /// Whether `index` is from `least` to `most` for sure.
  bool isFrom(Value index, int64_t least = INT32_MIN,
              int64_t most = INT32_MAX) const {
    auto *state = solver.lookupState<dataflow::IntegerValueRangeLattice>(index);
    if (!state || state->getValue().isUninitialized())
      return false;
    const ConstantIntRanges &range = state->getValue().getValue();
    return range.smin().sge(least) && range.smax().sle(most);
  }
  bool areFrom(ValueRange indices, int64_t least = INT32_MIN) const {
    return llvm::all_of(indices,
                        [&](Value index) { return isFrom(index, least); });
  }
  /// Whether 32 bits give what `op`, on indices, gives.
  bool allow(Operation *op) const;

private:
  DataFlowSolver &solver;
};
} // namespace

bool Ranges::allow(Operation *op) const {
  if (auto compare = dyn_cast<arith::CmpIOp>(op))
    // The extension of a sign keeps the order of numbers without one, too.
    return compare.getLhs().getType().isIndex() && areFrom(op->getOperands());
  auto isIndex = [](Type type) { return type.isIndex(); };
  if (!op->hasTrait<OpTrait::Elementwise>() || op->getNumResults() != 1 ||
      op->getNumOperands() == 0 ||
      !llvm::all_of(op->getOperandTypes(), isIndex) ||
      !op->getResult(0).getType().isIndex())
    return false;
  if (isa<arith::ShLIOp, arith::ShRSIOp, arith::ShRUIOp>(op) &&
      !isFrom(op->getOperand(1), 0, 31))
    return false;
  // The one quotient that 32 bits do not hold; LLVM has no remainder of it.
  if (isa<arith::DivSIOp, arith::FloorDivSIOp, arith::CeilDivSIOp,
          arith::RemSIOp>(op) &&
      !isFrom(op->getOperand(0), INT32_MIN + 1) &&
      !isFrom(op->getOperand(1), 0))
    return false;
  bool isUnsigned = isa<arith::DivUIOp, arith::CeilDivUIOp, arith::RemUIOp,
                        arith::ShRUIOp, arith::MinUIOp, arith::MaxUIOp>(op);
  int64_t least = isUnsigned ? 0 : INT32_MIN;
  return areFrom(op->getOperands(), least) && areFrom(op->getResults(), least);
}

/// Computes `op` with 32 bits.
static void narrow(Operation *op) {
  OpBuilder b(op);
  Arith math(b, op->getLoc());
  for (OpOperand &operand : op->getOpOperands())
    operand.set(b.createOrFold<arith::IndexCastOp>(math.loc, b.getI32Type(),
                                                   operand.get()));
  if (isa<arith::CmpIOp>(op))
    return;
  Value result = op->getResult(0);
  result.setType(b.getI32Type());
  b.setInsertionPointAfter(op);
  Value wide = math.toIndex(result);
  result.replaceAllUsesExcept(wide, wide.getDefiningOp());
}

/// Whether an index of 32 bits is less than a dimension, both without a sign:
/// of more than 2^31 elements it can be one of the first 2^31 alone.
static void narrowBound(arith::CmpIOp compare) {
  OpBuilder b(compare);
  Arith math(b, compare.getLoc());
  Value most = math.index(int64_t(1) << 31);
  compare.getRhsMutable().assign(
      math.apply<arith::MinUIOp>(compare.getRhs(), most));
  narrow(compare);
}

namespace {
struct NarrowArithmetic
    : public nsa::impl::NarrowArithmeticBase<NarrowArithmetic> {
  void runOnOperation() override {
    getOperation()->walk(narrowArguments);
    DataFlowSolver solver;
    dataflow::loadBaselineAnalyses(solver);
    solver.load<dataflow::IntegerRangeAnalysis>();
    if (failed(solver.initializeAndRun(getOperation())))
      return signalPassFailure();
    Ranges ranges(solver);
    SmallVector<Operation *> narrowed;
    SmallVector<arith::CmpIOp> bounds;
    getOperation()->walk([&](Operation *op) {
      auto compare = dyn_cast<arith::CmpIOp>(op);
      if (!op->getParentOfType<gpu::GPUFuncOp>())
        return;
      if (ranges.allow(op))
        narrowed.push_back(op);
      else if (compare && compare.getPredicate() == arith::CmpIPredicate::ult &&
               compare.getRhs().getDefiningOp<memref::DimOp>() &&
               ranges.isFrom(compare.getLhs()))
        bounds.push_back(compare);
    });
    llvm::for_each(narrowed, narrow);
    llvm::for_each(bounds, narrowBound);
  }
};
} // namespace
