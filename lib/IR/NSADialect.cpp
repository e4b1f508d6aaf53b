//===- NSADialect.cpp - The nsa dialect -----------------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/IR/NSADialect.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace nsa;

#include "nsa/IR/NSADialect.cpp.inc"
#include "nsa/IR/NSAEnums.cpp.inc"
#include "nsa/IR/NSAInterfaces.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "nsa/IR/NSATypes.cpp.inc"

namespace {
/// Layouts that have a name are printed once, under that name.
struct NSAOpAsmInterface : public OpAsmDialectInterface {
  using OpAsmDialectInterface::OpAsmDialectInterface;

  AliasResult getAlias(Attribute attr, raw_ostream &os) const override {
    auto layout = dyn_cast<KVLayoutAttr>(attr);
    if (!layout)
      return AliasResult::NoAlias;
    StringRef name = layout.getName();
    os << (name.empty() ? "kv_layout" : name);
    return AliasResult::OverridableAlias;
  }
};
} // namespace

void NSADialect::initialize() {
  registerAttributes();
  addInterfaces<NSAOpAsmInterface>();
  addOperations<
#define GET_OP_LIST
#include "nsa/IR/NSAOps.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "nsa/IR/NSATypes.cpp.inc"
      >();
}

OpFoldResult nsa::getDimSize(OpBuilder &b, Location loc, Value value,
                             unsigned dim) {
  auto type = cast<ShapedType>(value.getType());
  if (!type.isDynamicDim(dim))
    return b.getIndexAttr(type.getDimSize(dim));
  if (auto port = dyn_cast<BlockArgument>(value)) {
    auto step = cast<StepOp>(port.getOwner()->getParentOp());
    if (BlockArgument extent = step.getExtent(port, dim)) {
      int64_t offset = step.getExtentOffset(port, dim);
      if (offset == 0)
        return extent;
      return affine::makeComposedFoldedAffineApply(
          b, loc, b.getAffineSymbolExpr(0) + offset, OpFoldResult(extent));
    }
    return tensor::DimOp::create(b, loc, value, dim).getResult();
  }
  auto reify = cast<ReifyRankedShapedTypeOpInterface>(value.getDefiningOp());
  ReifiedRankedShapedTypeDims sizes;
  if (failed(reify.reifyResultShapes(b, sizes)))
    llvm_unreachable("every value operation reifies its shape");
  return sizes[cast<OpResult>(value).getResultNumber()][dim];
}

SmallVector<OpFoldResult> nsa::getSizes(OpBuilder &b, Location loc,
                                        Value value) {
  SmallVector<OpFoldResult> sizes;
  int64_t rank = cast<ShapedType>(value.getType()).getRank();
  for (int64_t dim = 0; dim < rank; ++dim)
    sizes.push_back(getDimSize(b, loc, value, dim));
  return sizes;
}

bool nsa::dependsOnScan(Value value) {
  Operation *op = value.getDefiningOp();
  // Rows of indices add up what they need of a sum by themselves.
  if (!op || isa<CombineIndicesOp>(op))
    return false;
  return isa<CuSeqlensOp>(op) || llvm::any_of(op->getOperands(), dependsOnScan);
}

bool nsa::isValueOrSize(Operation *op) {
  if (!isMemoryEffectFree(op))
    return false;
  return isa_and_nonnull<NSADialect>(op->getDialect()) ||
         llvm::none_of(op->getResultTypes(), llvm::IsaPred<ShapedType>);
}

ExpansionOp nsa::getExpansion(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op || isa<ExpansionOp>(op))
    return dyn_cast_or_null<ExpansionOp>(op);
  for (Value operand : op->getOperands())
    if (ExpansionOp expansion = getExpansion(operand))
      return expansion;
  return {};
}

bool nsa::isPerRequest(Value value) {
  return !dependsOnScan(value) && !getExpansion(value);
}

/// The operand of a value operation that has the same number of requests, and
/// how many elements more the operation has.
static std::pair<Value, int64_t> getRequestsOperand(Operation *op) {
  return llvm::TypeSwitch<Operation *, std::pair<Value, int64_t>>(op)
      .Case([](PageTableOp op) { return std::pair(op.getRows(), 0); })
      .Case([](LookupOp op) { return std::pair(op.getIndices(), 0); })
      .Case([](CuSeqlensOp op) { return std::pair(op.getSource(), 1); })
      .Case([](WindowBasesOp op) { return std::pair(op.getOffsets(), -1); })
      .Case([](QueryRowsOp op) { return std::pair(op.getQueryStartLoc(), -1); })
      .Case([](CompressedIdsOp op) { return std::pair(op.getRows(), 0); })
      .Case([](CombineLensOp op) { return std::pair(op.getQueries(), 0); })
      .Default([](Operation *op) { return std::pair(op->getOperand(0), 0); });
}

/// The number of requests of `value`: that of an array or the value of an
/// `index` port, if any, plus a constant.
static std::pair<Value, int64_t> getRequests(Value value) {
  int64_t more = 0;
  for (Operation *op = value.getDefiningOp();
       op && isa_and_nonnull<NSADialect>(op->getDialect());
       op = value.getDefiningOp()) {
    auto [operand, added] = getRequestsOperand(op);
    value = operand;
    more += added;
  }
  if (value.getType().isIndex())
    return {value, more};
  int64_t size = cast<ShapedType>(value.getType()).getDimSize(0);
  if (!ShapedType::isDynamic(size))
    return {Value(), size + more};
  if (auto port = dyn_cast<BlockArgument>(value))
    if (auto step = dyn_cast<StepOp>(port.getOwner()->getParentOp()))
      if (BlockArgument extent = step.getExtent(port, 0))
        return {extent, step.getExtentOffset(port, 0) + more};
  return {value, more};
}

bool nsa::haveSameRequests(Value lhs, Value rhs, int64_t more) {
  auto [lhsSize, lhsMore] = getRequests(lhs);
  auto [rhsSize, rhsMore] = getRequests(rhs);
  return lhsSize == rhsSize && lhsMore + more == rhsMore;
}
