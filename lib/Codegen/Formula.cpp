//===- Formula.cpp - Arithmetic that has a result for everything ----------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FormulaBody.h"

#include "nsa/Codegen/Arith.h"

#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace nsa;

namespace {
class FormulaEmitter : Arith {
public:
  FormulaEmitter(OpBuilder &b, Operation *op, ValueRange operands)
      : Arith(b, op->getLoc()), op(op), operands(operands) {}

  Value emit() {
    return llvm::TypeSwitch<Operation *, Value>(op)
        .Case<arith::DivSIOp, arith::FloorDivSIOp, arith::CeilDivSIOp,
              arith::RemSIOp>([&](auto) { return emitDivision(true); })
        .Case<arith::DivUIOp, arith::CeilDivUIOp, arith::RemUIOp>(
            [&](auto) { return emitDivision(false); })
        .Case<arith::ShLIOp, arith::ShRUIOp>(
            [&](auto) { return emitShift(false); })
        .Case<arith::ShRSIOp>([&](auto) { return emitShift(true); })
        .Case<arith::FPToSIOp>([&](auto) { return emitFloatToInt(true); })
        .Case<arith::FPToUIOp>([&](auto) { return emitFloatToInt(false); })
        .Case<arith::SIToFPOp, arith::UIToFPOp>(
            [&](auto) { return emitIntToFloat(); })
        .Case<arith::SelectOp>([&](auto) { return emitSelect(); })
        .Case<arith::TruncFOp>([&](auto) { return emitTruncF(); })
        .Default([&](Operation *) { return clone(operands); });
  }

private:
  Value constant(Type type, APInt value) {
    return apply<arith::ConstantOp>(type, b.getIntegerAttr(type, value));
  }
  Value constant(FloatType type, const APFloat &value) {
    return apply<arith::ConstantOp>(b.getFloatAttr(type, value));
  }
  using Arith::compare;
  Value compare(arith::CmpFPredicate predicate, Value lhs, Value rhs) {
    return apply<arith::CmpFOp>(predicate, lhs, rhs);
  }
  /// The same operation on other operands.
  Value clone(ValueRange operands) {
    Operation *copy = b.create(loc, op->getName().getIdentifier(), operands,
                               op->getResultTypes(), op->getAttrs());
    return copy->getResult(0);
  }

  Value emitDivision(bool isSigned) {
    Value lhs = operands[0], rhs = operands[1];
    Type type = lhs.getType();
    unsigned width = getWidth(type);
    APInt divisor;
    if (matchPattern(rhs, m_ConstantInt(&divisor)) && !divisor.isZero() &&
        !divisor.isAllOnes()) {
      // Metadata are divided by page sizes.
      if (isa<arith::FloorDivSIOp>(op) && divisor.isPowerOf2() &&
          !divisor.isNegative())
        return apply<arith::ShRSIOp>(
            lhs, constant(type, APInt(width, divisor.logBase2())));
      return clone(operands);
    }
    Value zero = constant(type, APInt::getZero(width));
    Value one = constant(type, APInt(width, 1));
    Value isZero = compare(arith::CmpIPredicate::eq, rhs, zero);
    // By 1 instead: the smallest number stays itself, with the remainder 0.
    Value replaced = isZero;
    if (isSigned && width > 1) {
      Value smallest = constant(type, APInt::getSignedMinValue(width));
      Value minusOne = constant(type, APInt::getAllOnes(width));
      Value overflows = both(compare(arith::CmpIPredicate::eq, lhs, smallest),
                             compare(arith::CmpIPredicate::eq, rhs, minusOne));
      replaced = either(isZero, overflows);
    }
    Value quotient = clone({lhs, select(replaced, one, rhs)});
    return select(isZero, zero, quotient);
  }

  Value emitShift(bool isArithmetic) {
    Value lhs = operands[0], rhs = operands[1];
    Type type = lhs.getType();
    unsigned width = getWidth(type);
    APInt amount;
    if (matchPattern(rhs, m_ConstantInt(&amount)) && amount.ult(width))
      return clone(operands);
    Value last = constant(type, APInt(width, width - 1));
    if (isArithmetic)
      return clone({lhs, apply<arith::MinUIOp>(rhs, last)});
    Value isInside = compare(arith::CmpIPredicate::ule, rhs, last);
    Value zero = constant(type, APInt::getZero(width));
    // LLVM 22 takes a guarded shift for what PTX does, which is right for 32
    // bits; of an amount of 64 bits it drops the high half before. Not of a
    // minimum.
    Value clamped = width > 32 ? apply<arith::MinUIOp>(rhs, last)
                               : select(isInside, rhs, zero);
    return select(isInside, clone({lhs, clamped}), zero);
  }

  Value emitFloatToInt(bool isSigned) {
    Value number = operands[0];
    auto floatType = cast<FloatType>(number.getType());
    Type type = op->getResult(0).getType();
    unsigned width = getWidth(type);
    APInt low = isSigned ? APInt::getSignedMinValue(width) : APInt(width, 0);
    APInt high =
        isSigned ? APInt::getSignedMaxValue(width) : APInt::getAllOnes(width);
    // The first number that is too large is a power of two, and so exact; all
    // numbers between it and the lower bound have an integer.
    APFloat bound =
        scalbn(APFloat::getOne(floatType.getFloatSemantics()),
               isSigned ? width - 1 : width, APFloat::rmNearestTiesToEven);
    APFloat lowest(floatType.getFloatSemantics());
    (void)lowest.convertFromAPInt(low, isSigned, APFloat::rmNearestTiesToEven);
    Value isTooLarge =
        compare(arith::CmpFPredicate::OGE, number, constant(floatType, bound));
    Value isTooSmall =
        compare(arith::CmpFPredicate::OLE, number, constant(floatType, lowest));
    Value isNumber = compare(arith::CmpFPredicate::ORD, number, number);
    Value zero =
        constant(floatType, APFloat::getZero(floatType.getFloatSemantics()));
    Value isOut = either(isTooLarge, isTooSmall);
    Value inside = select(isOut, zero, select(isNumber, number, zero));
    Value result = select(isTooLarge, constant(type, high), clone(inside));
    return select(isTooSmall, constant(type, low), result);
  }

  /// Rounded to f32 before bf16, as MLIR takes the two together.
  Value emitIntToFloat() {
    Type type = op->getResult(0).getType();
    if (!type.isBF16())
      return clone(operands);
    Value number = isa<arith::SIToFPOp>(op)
                       ? apply<arith::SIToFPOp>(b.getF32Type(), operands[0])
                       : apply<arith::UIToFPOp>(b.getF32Type(), operands[0]);
    return emitRoundToBF16(number);
  }

  /// bf16 as its bits: LLVM selects it by way of f32 on some hosts, whose
  /// instructions take subnormal numbers for 0.
  Value emitSelect() {
    Type type = op->getResult(0).getType();
    if (!type.isBF16())
      return clone(operands);
    auto getBits = [&](Value number) {
      return apply<arith::BitcastOp>(b.getI16Type(), number);
    };
    Value bits =
        select(operands[0], getBits(operands[1]), getBits(operands[2]));
    return apply<arith::BitcastOp>(type, bits);
  }

  Value emitTruncF() {
    if (operands[0].getDefiningOp<arith::SIToFPOp>() ||
        operands[0].getDefiningOp<arith::UIToFPOp>())
      return emitRoundToBF16(operands[0]);
    return clone(operands);
  }

  /// `number`, which is no NaN, to the nearest bf16. An `arith.truncf` would be
  /// taken together with a conversion from integers, which then rounds once.
  Value emitRoundToBF16(Value number) {
    Value bits = apply<arith::BitcastOp>(b.getI32Type(), number);
    Value shifted = shiftRight(bits, i32(16));
    Value odd = both(shifted, i32(1));
    Value half = add(odd, i32(0x7fff));
    Value rounded = shiftRight(add(bits, half), i32(16));
    Value low = apply<arith::TruncIOp>(b.getI16Type(), rounded);
    return apply<arith::BitcastOp>(b.getBF16Type(), low);
  }

  static unsigned getWidth(Type type) {
    return type.isIndex() ? 64 : type.getIntOrFloatBitWidth();
  }

  Operation *op;
  ValueRange operands;
};
} // namespace

Value nsa::emitFormulaOp(OpBuilder &b, Operation *op, ValueRange operands) {
  return FormulaEmitter(b, op, operands).emit();
}
