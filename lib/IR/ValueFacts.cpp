//===- ValueFacts.cpp - What values are computed from ---------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/IR/ValueFacts.h"

#include "nsa/IR/NSADialect.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/SmallSet.h"

using namespace mlir;
using namespace nsa;

//===----------------------------------------------------------------------===//
// ValueFacts
//===----------------------------------------------------------------------===//

SmallVector<Value> nsa::getInputs(Operation *op) {
  SmallVector<Value> inputs(op->getOperands());
  if (op->getNumRegions() > 0) {
    llvm::SetVector<Value> captured;
    getUsedValuesDefinedAbove(op->getRegions(), captured);
    llvm::append_range(inputs, captured);
  }
  return inputs;
}

void ValueFacts::add(Operation *op) {
  Facts result;
  for (Value operand : getInputs(op)) {
    Facts inner = lookup(operand);
    result.dependsOnScan |= inner.dependsOnScan;
    if (!result.expansion)
      result.expansion = inner.expansion;
    result.depth = std::max(result.depth, inner.depth);
  }
  ++result.depth;
  result.reads = std::min(countReads(op), mostReads + 1);
  if (isa<ExpansionOp>(op))
    result.expansion = op;
  if (auto value = dyn_cast<ValueOpInterface>(op)) {
    Iteration iteration = value.getIteration();
    if (iteration != Iteration::Each && iteration != Iteration::Expand)
      result.dependsOnScan = iteration == Iteration::Scan;
    if (iteration == Iteration::Any)
      result.expansion = nullptr;
  }
  facts[op] = result;
}

unsigned ValueFacts::countReads(Operation *op) const {
  unsigned reads = 0;
  if (op->getNumRegions() == 0) {
    for (Value operand : op->getOperands())
      reads = std::max(reads, lookup(operand).reads);
    return reads;
  }
  // Reads of a formula that are alike are one.
  llvm::SmallSet<SmallVector<void *, 4>, 16> seen;
  op->walk([&](Operation *inner) {
    if (!isa<ReadOp, SearchOp>(inner) || reads > mostReads)
      return;
    auto operands =
        llvm::map_to_vector<4>(inner->getOperands(), [](Value operand) {
          return operand.getAsOpaquePointer();
        });
    if (seen.insert(operands).second)
      reads += 1 + lookup(inner->getOperand(0)).reads;
  });
  return reads;
}

bool ValueFacts::contains(Value value) const {
  return facts.contains(value.getDefiningOp());
}

ValueFacts::Facts ValueFacts::lookup(Value value) const {
  return facts.lookup(value.getDefiningOp());
}

ExpansionOp ValueFacts::getExpansion(Value value) const {
  return cast_or_null<ExpansionOp>(lookup(value).expansion);
}

bool ValueFacts::isPerRequest(Value value) const {
  Facts facts = lookup(value);
  return !facts.dependsOnScan && !facts.expansion;
}

void nsa::walkOrigins(ValueRange values,
                      function_ref<bool(Operation *)> visit) {
  SmallVector<Value> worklist(values);
  llvm::DenseSet<Operation *> seen;
  while (!worklist.empty()) {
    Operation *op = worklist.pop_back_val().getDefiningOp();
    if (op && seen.insert(op).second && visit(op))
      llvm::append_range(worklist, getInputs(op));
  }
}

bool ValueFacts::expectPerRequest(Operation *op, ValueRange values,
                                  StringRef what) const {
  return llvm::all_of(values, [&](Value value) {
    return expect(op, !value || isPerRequest(value), what,
                  " neither on a cumulative sum nor on an expansion");
  });
}

bool nsa::expectPort(Operation *op, Value value, StringRef what) {
  return expect(op, isa<BlockArgument>(value), what, " to be an 'in' port");
}

/// The facts of `value`, from those of what it is computed from.
static ValueFacts getFacts(Value value) {
  ValueFacts facts;
  SmallVector<Operation *> stack;
  if (Operation *op = value.getDefiningOp())
    stack.push_back(op);
  while (!stack.empty()) {
    Operation *op = stack.back();
    size_t size = stack.size();
    for (Value operand : getInputs(op))
      if (operand.getDefiningOp() && !facts.contains(operand))
        stack.push_back(operand.getDefiningOp());
    if (stack.size() > size)
      continue;
    stack.pop_back();
    facts.add(op);
  }
  return facts;
}

bool nsa::dependsOnScan(Value value) {
  return getFacts(value).dependsOnScan(value);
}

ExpansionOp nsa::getExpansion(Value value) {
  return getFacts(value).getExpansion(value);
}

//===----------------------------------------------------------------------===//
// Verification
//===----------------------------------------------------------------------===//

bool nsa::isValue(Operation *op) {
  return isa<ValueOpInterface, ExpansionOp>(op);
}

/// Whether divisors are positive constants: launchers divide by nothing else.
static bool hasConstantDivisors(AffineExpr expr) {
  auto visit = [](AffineExpr expr) {
    auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
    if (!binary || expr.getKind() == AffineExprKind::Add ||
        expr.getKind() == AffineExprKind::Mul)
      return WalkResult::advance();
    auto divisor = dyn_cast<AffineConstantExpr>(binary.getRHS());
    return WalkResult(success(divisor && divisor.getValue() > 0));
  };
  return !expr.walk(visit).wasInterrupted();
}

LogicalResult nsa::verifySize(Operation *op) {
  if (auto apply = dyn_cast<affine::AffineApplyOp>(op))
    return success(
        expect(op, hasConstantDivisors(apply.getAffineMap().getResult(0)),
               "the divisors of a size to be constants of 1 or more"));
  if (auto dim = dyn_cast<tensor::DimOp>(op)) {
    auto type = dyn_cast<RankedTensorType>(dim.getSource().getType());
    std::optional<int64_t> number = dim.getConstantIndex();
    return success(expect(op,
                          isa<BlockArgument>(dim.getSource()) && type &&
                              number && *number >= 0 &&
                              *number < type.getRank(),
                          "a size to be that of a port in a dimension that it "
                          "has, given by a constant"));
  }
  if (matchPattern(op, m_Constant()) && op->getNumResults() == 1 &&
      op->getResult(0).getType().isIndex())
    return success();
  return op->emitOpError("is not one of those that the body of a step holds: "
                         "copies, launches, nsa values, and sizes (a constant, "
                         "a 'tensor.dim' of a port, or an 'affine.apply')");
}

/// Checks that `operand` is a port, or comes before `op`, the operation in
/// whose formula it stands or which it is an operand of.
static bool expectOperand(OpOperand &operand, Operation *op,
                          const ValueFacts &facts) {
  Value value = operand.get();
  Operation *definition = value.getDefiningOp();
  if (!definition || facts.contains(value) || op->isProperAncestor(definition))
    return true;
  Operation *owner = operand.getOwner();
  // As MLIR's own check, which comes too late for verifiers of regions.
  if (definition->getBlock() == op->getBlock()) {
    InFlightDiagnostic diag = owner->emitError("operand #")
                              << operand.getOperandNumber()
                              << " does not dominate this use";
    diag.attachNote(definition->getLoc()) << "operand defined here";
    return false;
  }
  return expect(owner, value.getType().isIndex(), "operand #",
                operand.getOperandNumber(),
                " to be a port or a value of the same segment");
}

LogicalResult nsa::verifyValues(Block &body) {
  ValueFacts facts;
  for (Operation &op : body) {
    // What a launch holds is checked with its segments.
    if (isa<LaunchOp>(op))
      continue;
    auto expectOperands = [&](Operation *inner) {
      return llvm::all_of(inner->getOpOperands(), [&](OpOperand &operand) {
        return expectOperand(operand, &op, facts);
      });
    };
    if (!expectEach<Operation *>(&op, expectOperands))
      return failure();
    facts.add(&op);
    ValueFacts::Facts known = op.getNumResults() ? facts.lookup(op.getResult(0))
                                                 : ValueFacts::Facts();
    auto input = dyn_cast<InputOpInterface>(op);
    if (!expect(&op, known.depth <= ValueFacts::mostDepth,
                "values that are computed from one another to be at most ",
                ValueFacts::mostDepth, " deep") ||
        !expect(&op, known.reads <= ValueFacts::mostReads,
                "elements that are computed from at most ",
                ValueFacts::mostReads,
                " reads, those of the values that they read included; store "
                "what is in between, and read it in another step") ||
        (input && failed(input.verifyInputs(facts))))
      return failure();
  }
  return success();
}
