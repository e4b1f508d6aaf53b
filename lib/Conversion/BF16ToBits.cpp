//===- BF16ToBits.cpp - Numbers that are only moved -----------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#define GEN_PASS_DEF_BF16TOBITS
#include "nsa/Conversion/Passes.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nsa;

static bool isBF16(Type type) { return getElementTypeOrSelf(type).isBF16(); }

/// The same bits as integers.
static Type toBits(Type type) {
  Type bits = IntegerType::get(type.getContext(), 16);
  if (auto vector = dyn_cast<VectorType>(type))
    return vector.clone(bits);
  return bits;
}

static TypedAttr toBits(Attribute value) {
  if (auto number = dyn_cast<FloatAttr>(value))
    return IntegerAttr::get(toBits(number.getType()),
                            number.getValue().bitcastToAPInt());
  auto numbers = cast<DenseElementsAttr>(value);
  return numbers.bitcast(toBits(numbers.getElementType()));
}

/// Whether `op` only moves numbers, whatever they are.
static bool isMove(Operation *op) {
  return isa<LLVM::LoadOp, LLVM::StoreOp, LLVM::SelectOp, LLVM::BitcastOp,
             LLVM::ConstantOp, LLVM::UndefOp, LLVM::PoisonOp, LLVM::ZeroOp,
             LLVM::ExtractElementOp, LLVM::InsertElementOp,
             LLVM::ShuffleVectorOp, LLVM::BrOp, LLVM::CondBrOp, LLVM::SwitchOp>(
      op);
}

static void convert(Value value) {
  if (isBF16(value.getType()))
    value.setType(toBits(value.getType()));
}

namespace {
struct BF16ToBits : public nsa::impl::BF16ToBitsBase<BF16ToBits> {
  void runOnOperation() override {
    auto expectMove = [](Operation *op) {
      return expect(op,
                    isMove(op) ||
                        (llvm::none_of(op->getOperandTypes(), isBF16) &&
                         llvm::none_of(op->getResultTypes(), isBF16)),
                    "no arithmetic on bf16");
    };
    if (!expectEach<Operation *>(getOperation(), expectMove))
      return signalPassFailure();

    SmallVector<LLVM::BitcastOp> casts;
    getOperation()->walk([&](Block *block) {
      llvm::for_each(block->getArguments(), convert);
      for (Operation &op : *block) {
        if (auto constant = dyn_cast<LLVM::ConstantOp>(op);
            constant && isBF16(constant.getType()))
          constant.setValueAttr(toBits(constant.getValue()));
        llvm::for_each(op.getResults(), convert);
        if (auto cast = dyn_cast<LLVM::BitcastOp>(op))
          casts.push_back(cast);
      }
    });
    for (LLVM::BitcastOp cast : casts) {
      if (cast.getArg().getType() != cast.getType())
        continue;
      cast.replaceAllUsesWith(cast.getArg());
      cast.erase();
    }
  }
};
} // namespace
