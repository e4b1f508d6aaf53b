//===- ExpandNamed.cpp - Named operations are formulas --------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/IR/Remarks.h"
#include "llvm/ADT/TypeSwitch.h"

namespace nsa {
#define GEN_PASS_DEF_EXPANDNAMED
#define GEN_PASS_DEF_SHAREFORMS
#include "nsa/Transforms/Passes.h.inc"
} // namespace nsa

using namespace mlir;
using namespace nsa;

//===----------------------------------------------------------------------===//
// Formulas of named operations
//===----------------------------------------------------------------------===//

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
  Value constant(int32_t value) {
    return arith::ConstantIntOp::create(b, loc, value, 32);
  }
  Value constantIndex(int64_t value) {
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

/// What `op` is in the general form, or null: elements of rows of an expansion
/// are found by their segment, sums of sums walk, dead elements are left out,
/// and none of that a formula says.
static Value expandNamed(OpBuilder &b, Operation *op) {
  auto isPerRequest = [](Value value) {
    return !dependsOnScan(value) && !getExpansion(value);
  };
  if (!isa<ValueOpInterface>(op) ||
      !llvm::all_of(op->getOperands(), isPerRequest))
    return {};
  FormulaWriter w(b, op);
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case([&](SeqlensOp op) {
        return w.map(op, [&](ValueRange at) -> Value {
          Value length = w.toI32(w.read(op.getSource(), at));
          if (op.getPlus() == 0)
            return length;
          return arith::AddIOp::create(b, w.loc, length,
                                       w.constant(op.getPlus()));
        });
      })
      .Case([&](ClipSeqlensOp op) {
        return w.map(op, [&](ValueRange at) -> Value {
          Value length = w.read(op.getSource(), at);
          return arith::MinSIOp::create(b, w.loc, length,
                                        w.constant(op.getLimit()));
        });
      })
      .Case([&](CuSeqlensOp op) -> Value {
        auto scan =
            ScanOp::create(b, w.loc, op.getSource(), /*inclusive=*/false);
        if (scan.getType() == op.getType())
          return scan.getResult();
        scan.erase();
        return {};
      })
      .Case([&](PageTableOp op) -> Value {
        if (op.getLive())
          return {};
        return w.map(op, [&](ValueRange at) {
          Value row = w.toIndex(w.read(op.getRows(), at.front()));
          return w.read(op.getReqToToken(), {row, at.back()}, w.constant(0));
        });
      })
      .Case([&](RealPageTableOp op) -> Value {
        if (op.hasDeadElements())
          return {};
        return w.map(op, [&](ValueRange at) -> Value {
          Value first = arith::MulIOp::create(
              b, w.loc, at.back(), w.constantIndex(op.getPageSize()));
          Value token =
              w.read(op.getSource(), {at.front(), first}, w.constant(0));
          return arith::FloorDivSIOp::create(b, w.loc, token,
                                             w.constant(op.getPageSize()));
        });
      })
      .Case([&](ContextLensOp op) {
        return w.map(op, [&](ValueRange at) {
          return w.read(op.getSource(), at.front());
        });
      })
      .Default([](Operation *) { return Value(); });
}

//===----------------------------------------------------------------------===//
// Formulas that say the same
//===----------------------------------------------------------------------===//

namespace {
/// Compares formulas as expressions: whatever the order of their operations,
/// and whatever stands there that the element does not need.
class SameFormula {
public:
  bool operator()(Operation *lhs, Operation *rhs) {
    if (lhs->getName() != rhs->getName() ||
        lhs->getResultTypes() != rhs->getResultTypes() ||
        lhs->getNumRegions() != rhs->getNumRegions() ||
        lhs->getDiscardableAttrDictionary() !=
            rhs->getDiscardableAttrDictionary() ||
        lhs->getPropertiesAsAttribute() != rhs->getPropertiesAsAttribute() ||
        !llvm::equal(lhs->getOperands(), rhs->getOperands(), areSame))
      return false;
    auto left = dyn_cast<FormulaOpInterface>(lhs);
    if (!left)
      return lhs->getNumRegions() == 0;
    auto right = cast<FormulaOpInterface>(rhs);
    for (auto [a, b] :
         llvm::zip_equal(left.getArguments(), right.getArguments()))
      known[{a, b}] = true;
    return compare(left.getYielded(), right.getYielded());
  }

private:
  /// Sizes outside of formulas.
  static bool areSame(Value lhs, Value rhs) {
    return lhs == rhs || (lhs.getType().isIndex() && rhs.getType().isIndex() &&
                          Size::of(lhs).isSameAs(Size::of(rhs)));
  }

  bool compare(Value lhs, Value rhs) {
    if (lhs == rhs)
      return true;
    if (auto it = known.find({lhs, rhs}); it != known.end())
      return it->second;
    Operation *left = lhs.getDefiningOp(), *right = rhs.getDefiningOp();
    bool isSame =
        left && right && isa<FormulaOpInterface>(left->getParentOp()) &&
        isa<FormulaOpInterface>(right->getParentOp()) &&
        left->getName() == right->getName() &&
        left->getResultTypes() == right->getResultTypes() &&
        left->getPropertiesAsAttribute() == right->getPropertiesAsAttribute() &&
        llvm::equal(left->getOperands(), right->getOperands(),
                    [&](Value a, Value b) { return compare(a, b); });
    return known[{lhs, rhs}] = isSame;
  }

  llvm::DenseMap<std::pair<Value, Value>, bool> known;
};
} // namespace

//===----------------------------------------------------------------------===//
// Passes
//===----------------------------------------------------------------------===//

namespace {
struct ExpandNamed : public nsa::impl::ExpandNamedBase<ExpandNamed> {
  void runOnOperation() override {
    Block &body = getOperation().getBody().front();
    OpBuilder b(&getContext());
    for (Operation &op : llvm::make_early_inc_range(body)) {
      b.setInsertionPoint(&op);
      Value value = expandNamed(b, &op);
      if (!value)
        continue;
      op.getResult(0).replaceAllUsesWith(value);
      op.erase();
    }
  }
};

/// What is built only to be compared.
struct Scratch : public OpBuilder::Listener {
  SmallVector<Operation *> ops;
  void notifyOperationInserted(Operation *op, OpBuilder::InsertPoint) override {
    ops.push_back(op);
  }
};

struct ShareForms : public nsa::impl::ShareFormsBase<ShareForms> {
  void runOnOperation() override {
    SmallVector<Operation *> named, general;
    for (Operation &op : getOperation().getBody().front())
      // Sums have a pass of their own: who reads them adds up, and only those
      // that are stored are named (nsa-walk-sums).
      if (!isa<CuSeqlensOp>(op))
        (isa<MapOp>(op) ? general : named).push_back(&op);
    if (general.empty())
      return markAllAnalysesPreserved();
    for (Operation *op : named) {
      Scratch scratch;
      OpBuilder b(op, &scratch);
      if (Value value = expandNamed(b, op))
        shareWith(op, value.getDefiningOp(), general);
      for (Operation *built : llvm::reverse(scratch.ops))
        built->erase();
    }
  }

  /// Takes `named`, whose general form is `form`, for each of `general` that
  /// says the same.
  static void shareWith(Operation *named, Operation *form,
                        SmallVectorImpl<Operation *> &general) {
    llvm::erase_if(general, [&](Operation *other) {
      if (!SameFormula()(form, other) || !moveBefore(named, other))
        return false;
      remark::passed(other->getLoc(),
                     remark::RemarkOpts::name("ShareForms").category("nsa"))
          << remark::add("took '{0}', which says the same",
                         named->getName().getStringRef());
      other->getResult(0).replaceAllUsesWith(named->getResult(0));
      other->erase();
      return true;
    });
  }

  /// Whether `named` stands before `other`, or can.
  static bool moveBefore(Operation *named, Operation *other) {
    if (named->isBeforeInBlock(other))
      return true;
    bool canMove = llvm::all_of(named->getOperands(), [&](Value operand) {
      Operation *op = operand.getDefiningOp();
      return !op || op->isBeforeInBlock(other);
    });
    if (canMove)
      named->moveBefore(other);
    return canMove;
  }
};
} // namespace
