//===- ExpandNamed.cpp - Named operations are formulas --------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#define GEN_PASS_DEF_EXPANDNAMED
#define GEN_PASS_DEF_SHAREFORMS
#include "nsa/Transforms/Passes.h"

using namespace mlir;
using namespace nsa;

/// What `op` is in the general form, or null: elements of rows of an expansion
/// are found by their segment, and sums of sums walk, which no formula says.
static Value expandNamed(OpBuilder &b, Operation *op) {
  auto isPerRequest = [](Value value) {
    return !dependsOnScan(value) && !getExpansion(value);
  };
  auto named = dyn_cast<NamedOpInterface>(op);
  if (!named || !llvm::all_of(op->getOperands(), isPerRequest))
    return {};
  return named.buildGeneralForm(b);
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
      remark::passed(other->getLoc(), remarkBy("ShareForms")) << remark::add(
          "took '{0}', which says the same", named->getName().getStringRef());
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
