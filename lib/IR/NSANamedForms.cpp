//===- NSANamedForms.cpp - Named operations are formulas ------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/IR/NSADialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nsa;

namespace {
/// Writes the formula of a named operation. Operands stand before their uses in
/// the order in which an expression names them, as in a text of nsa.build.
class FormulaWriter {
public:
  FormulaWriter(OpBuilder &b, Operation *op) : b(b), loc(op->getLoc()) {}

  /// The array whose elements `emit` yields, given the indices.
  Value map(ValueOpInterface op, function_ref<Value(ValueRange)> emit);

  Value read(Value source, ValueRange indices, Value fill = {}) {
    Type type = getElementTypeOrSelf(source.getType());
    return ReadOp::create(b, loc, type, source, indices, fill);
  }
  template <typename Op> Value apply(Value lhs, Value rhs) {
    return Op::create(b, loc, lhs, rhs);
  }
  Value i32(int32_t value) {
    return arith::ConstantIntOp::create(b, loc, value, 32);
  }
  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(b, loc, value);
  }
  Value toIndex(Value value) {
    return arith::IndexCastOp::create(b, loc, b.getIndexType(), value);
  }
  Value toI32(Value value) {
    if (value.getType().isInteger(32))
      return value;
    return arith::TruncIOp::create(b, loc, b.getI32Type(), value);
  }

  OpBuilder &b;
  Location loc;
};
} // namespace

Value FormulaWriter::map(ValueOpInterface op,
                         function_ref<Value(ValueRange)> emit) {
  SmallVector<Value> dynamic;
  SmallVector<int64_t> sizes;
  for (const Size &size : op.getSizes()) {
    OpFoldResult result = size.materialize(b, loc);
    if (std::optional<int64_t> constant = getConstantIntValue(result)) {
      sizes.push_back(*constant);
      continue;
    }
    dynamic.push_back(cast<Value>(result));
    sizes.push_back(ShapedType::kDynamic);
  }
  auto type =
      RankedTensorType::get(sizes, getElementTypeOrSelf(op->getResult(0)));
  // Of a size that is known, though the named operation's type does not say so.
  if (type != op->getResult(0).getType())
    return {};
  auto map = MapOp::create(b, loc, type, dynamic, sizes);
  Block &body = map.getBody().emplaceBlock();
  for (size_t i = 0; i < sizes.size(); ++i)
    body.addArgument(b.getIndexType(), loc);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(&body);
  YieldOp::create(b, loc, emit(body.getArguments()));
  return map.getResult();
}

//===----------------------------------------------------------------------===//
// The forms
//===----------------------------------------------------------------------===//

Value SeqlensOp::buildGeneralForm(OpBuilder &b) {
  FormulaWriter w(b, *this);
  return w.map(*this, [&](ValueRange at) {
    Value length = w.toI32(w.read(getSource(), at));
    return getPlus() == 0 ? length
                          : w.apply<arith::AddIOp>(length, w.i32(getPlus()));
  });
}

Value ClipSeqlensOp::buildGeneralForm(OpBuilder &b) {
  FormulaWriter w(b, *this);
  return w.map(*this, [&](ValueRange at) {
    Value length = w.read(getSource(), at);
    return w.apply<arith::MinSIOp>(length, w.i32(getLimit()));
  });
}

Value CuSeqlensOp::buildGeneralForm(OpBuilder &b) {
  auto scan = ScanOp::create(b, getLoc(), getSource(), /*sums=*/Value(),
                             /*inclusive=*/false);
  if (scan.getType() == getType())
    return scan.getResult();
  scan.erase();
  return {};
}

Value PageTableOp::buildGeneralForm(OpBuilder &b) {
  if (getLive())
    return {};
  FormulaWriter w(b, *this);
  return w.map(*this, [&](ValueRange at) {
    Value row = w.toIndex(w.read(getRows(), at.front()));
    return w.read(getReqToToken(), {row, at.back()}, w.i32(0));
  });
}

Value RealPageTableOp::buildGeneralForm(OpBuilder &b) {
  if (hasDeadElements())
    return {};
  FormulaWriter w(b, *this);
  return w.map(*this, [&](ValueRange at) {
    Value first = w.apply<arith::MulIOp>(at.back(), w.index(getPageSize()));
    Value token = w.read(getSource(), {at.front(), first}, w.i32(0));
    return w.apply<arith::FloorDivSIOp>(token, w.i32(getPageSize()));
  });
}

Value ContextLensOp::buildGeneralForm(OpBuilder &b) {
  FormulaWriter w(b, *this);
  return w.map(*this,
               [&](ValueRange at) { return w.read(getSource(), at.front()); });
}
