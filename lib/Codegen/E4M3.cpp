//===- E4M3.cpp - From e4m3 and scales to bf16 ----------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// e4m3 has the fields of float32 and of bf16, with four exponent bits instead
// of eight and less fraction. Put in the places of theirs, they make a number
// (a subnormal one if it was subnormal) that is right but for the exponent's
// bias, which is 7 instead of 127: a factor of 2^120 is missing.
//
// With scales that are powers of two, bf16 has every product with at most four
// bits, so rounding matters only to subnormal and infinite ones, and happens
// once: numbers times 2^120, which is exact, times the scale, two numbers at a
// time, in half of the registers.
//
// With scales of float32, the factor goes into the scale, so that one float32
// multiplication, rounded once, does both.
//
// Two kinds of vectors take another way, with two float32 multiplications:
// those with NaN, whose bits would be those of 480, and those whose float32
// scale is too large for the factor.
//
//===----------------------------------------------------------------------===//

#include "E4M3.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nsa;

/// An i32, or a vector of the same one.
static Value i32(ImplicitLocOpBuilder &b, uint32_t value,
                 VectorType type = {}) {
  if (!type)
    return arith::ConstantIntOp::create(b, value, 32);
  return arith::ConstantOp::create(
      b, DenseElementsAttr::get(type, APInt(32, value)));
}

/// `factor` in every element of `type`.
static Value splat(ImplicitLocOpBuilder &b, VectorType type, double factor) {
  auto attr = b.getFloatAttr(type.getElementType(), factor);
  return arith::ConstantOp::create(
      b, DenseElementsAttr::get(type, attr.getValue()));
}

/// How many numbers `bytes` has.
static int64_t getWidth(Value bytes) {
  auto type = cast<VectorType>(bytes.getType());
  return type.getNumElements() * type.getElementTypeBitWidth() / 8;
}

/// The numbers as float32, but for a factor of 2^-120 and NaN.
static Value emitFloats(ImplicitLocOpBuilder &b, Value bytes) {
  int64_t width = getWidth(bytes);
  auto type = VectorType::get(width, b.getI32Type());
  // Each byte in the highest bits of an i32.
  Value bits;
  if (getElementTypeOrSelf(bytes).isInteger(32)) {
    SmallVector<Value> words;
    SmallVector<Attribute> shifts;
    for (int64_t i = 0; i < width; ++i) {
      words.push_back(vector::ExtractOp::create(b, bytes, i / 4));
      shifts.push_back(b.getI32IntegerAttr(24 - 8 * (i % 4)));
    }
    bits = vector::FromElementsOp::create(b, type, words);
    bits = arith::ShLIOp::create(
        b, bits,
        arith::ConstantOp::create(b, DenseElementsAttr::get(type, shifts)));
  } else {
    bits = arith::ExtUIOp::create(b, type, bytes);
    bits = arith::ShLIOp::create(b, bits, i32(b, 24, type));
  }
  // Moves exponent and fraction into place and leaves the sign where it is.
  bits = arith::ShRSIOp::create(b, bits, i32(b, 4, type));
  bits = arith::AndIOp::create(b, bits, i32(b, 0x87f00000, type));
  return arith::BitcastOp::create(b, VectorType::get(width, b.getF32Type()),
                                  bits);
}

/// The scale, as the bits of a float32.
static Value emitScale(ImplicitLocOpBuilder &b, Value raw, KVType type) {
  Value bits = vector::ExtractOp::create(b, raw, 0);
  if (type == KVType::F32)
    return bits;
  // The byte is float32's exponent, but for 0, whose power is subnormal, and
  // 255, which would be infinity.
  Value byte = arith::ExtUIOp::create(b, b.getI32Type(), bits);
  bits = arith::ShLIOp::create(b, byte, i32(b, 23));
  auto replace = [&](uint32_t value, uint32_t other) {
    Value is =
        arith::CmpIOp::create(b, arith::CmpIPredicate::eq, byte, i32(b, value));
    bits = arith::SelectOp::create(b, is, i32(b, other), bits);
  };
  replace(0, 0x00400000);
  replace(255, 0x7fc00000);
  return bits;
}

/// Whether there is NaN among words of numbers.
static Value emitHasNaN(ImplicitLocOpBuilder &b, Value words) {
  // A byte's lower bits are all ones only in NaN; plus 1, they carry.
  auto type = cast<VectorType>(words.getType());
  Value carry = arith::AndIOp::create(b, words, i32(b, 0x7f7f7f7f, type));
  carry = arith::AddIOp::create(b, carry, i32(b, 0x01010101, type));
  Value any = vector::ReductionOp::create(b, vector::CombiningKind::OR, carry);
  any = arith::AndIOp::create(b, any, i32(b, 0x80808080));
  return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, any, i32(b, 0));
}

/// Whether a float32 scale times 2^120 may be infinite.
static Value emitIsLarge(ImplicitLocOpBuilder &b, Value scale) {
  // 2^8 times 2^120 is the first power of two that is infinity.
  Value magnitude = arith::AndIOp::create(b, scale, i32(b, 0x7fffffff));
  return arith::CmpIOp::create(b, arith::CmpIPredicate::uge, magnitude,
                               i32(b, 0x43800000));
}

/// Products with a power of two, of words of numbers without NaN.
static Value emitExactProduct(ImplicitLocOpBuilder &b, Value words,
                              Value scale) {
  auto type = cast<VectorType>(words.getType());
  auto halves = VectorType::get(2 * type.getNumElements(), b.getBF16Type());
  // bf16 is the upper half of a float32.
  Value factor = arith::ShRUIOp::create(b, scale, i32(b, 16));
  factor = arith::TruncIOp::create(b, b.getI16Type(), factor);
  factor = arith::BitcastOp::create(b, b.getBF16Type(), factor);
  factor = vector::BroadcastOp::create(b, halves, factor);
  // The products of the bytes that are the upper ones in halves of words.
  auto multiply = [&](Value upper) -> Value {
    Value sign = arith::AndIOp::create(b, upper, i32(b, 0x80008000, type));
    Value bits = arith::ShRUIOp::create(b, upper, i32(b, 4, type));
    bits = arith::AndIOp::create(b, bits, i32(b, 0x07f007f0, type));
    bits = arith::OrIOp::create(b, bits, sign);
    Value numbers = vector::BitCastOp::create(b, halves, bits);
    numbers = arith::MulFOp::create(b, numbers, splat(b, halves, 0x1p120));
    return arith::MulFOp::create(b, numbers, factor);
  };
  Value even = multiply(arith::ShLIOp::create(b, words, i32(b, 8, type)));
  Value odd = multiply(words);
  return toBF16Storage(b, vector::InterleaveOp::create(b, even, odd));
}

/// Products with a scale that is not large, of numbers without NaN.
static Value emitProduct(ImplicitLocOpBuilder &b, Value floats, Value scale) {
  Value factor = arith::BitcastOp::create(b, b.getF32Type(), scale);
  Value power = arith::ConstantOp::create(b, b.getF32FloatAttr(0x1p120f));
  factor = arith::MulFOp::create(b, factor, power);
  factor = vector::BroadcastOp::create(b, floats.getType(), factor);
  return toBF16Storage(b, arith::MulFOp::create(b, floats, factor));
}

/// Products of any numbers with any scale.
static Value emitAnyProduct(ImplicitLocOpBuilder &b, Value floats,
                            Value scale) {
  auto type = cast<VectorType>(floats.getType());
  auto bitsType = VectorType::get(type.getNumElements(), b.getI32Type());
  floats = arith::MulFOp::create(b, floats, splat(b, type, 0x1p120));
  Value bits = arith::BitcastOp::create(b, bitsType, floats);
  bits = arith::AndIOp::create(b, bits, i32(b, 0x7fffffff, bitsType));
  Value isNaN =
      arith::CmpIOp::create(b, arith::CmpIPredicate::eq, bits,
                            i32(b, llvm::bit_cast<uint32_t>(480.0f), bitsType));
  Value nan = splat(b, type, std::numeric_limits<double>::quiet_NaN());
  floats = arith::SelectOp::create(b, isNaN, nan, floats);
  Value factor = arith::BitcastOp::create(b, b.getF32Type(), scale);
  factor = vector::BroadcastOp::create(b, type, factor);
  return toBF16Storage(b, arith::MulFOp::create(b, floats, factor));
}

Value nsa::emitScaledE4M3(ImplicitLocOpBuilder &b, Value bytes, Value raw,
                          KVType scaleType) {
  Value scale = emitScale(b, raw, scaleType);
  if (!getElementTypeOrSelf(bytes).isInteger(32))
    return emitAnyProduct(b, emitFloats(b, bytes), scale);
  bool isExact = scaleType == KVType::UE8M0;
  Value isSpecial = emitHasNaN(b, bytes);
  if (!isExact)
    isSpecial = arith::OrIOp::create(b, isSpecial, emitIsLarge(b, scale));
  auto ifOp = scf::IfOp::create(
      b, isSpecial,
      [&](OpBuilder &, Location) {
        scf::YieldOp::create(b, emitAnyProduct(b, emitFloats(b, bytes), scale));
      },
      [&](OpBuilder &, Location) {
        scf::YieldOp::create(
            b, isExact ? emitExactProduct(b, bytes, scale)
                       : emitProduct(b, emitFloats(b, bytes), scale));
      });
  return ifOp.getResult(0);
}

Value nsa::toBF16Storage(ImplicitLocOpBuilder &b, Value value) {
  auto type = cast<VectorType>(value.getType());
  if (type.getElementType().isF32()) {
    type = VectorType::get(type.getNumElements(), b.getBF16Type());
    value = arith::TruncFOp::create(b, type, value);
  }
  int64_t bits = type.getNumElements() * type.getElementTypeBitWidth();
  bool hasWords = bits % 32 == 0;
  auto storage =
      VectorType::get(bits / (hasWords ? 32 : 16),
                      hasWords ? b.getI32Type() : b.getIntegerType(16));
  return vector::BitCastOp::create(b, storage, value);
}
