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

#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nsa;

/// How many numbers `bytes` has.
static int64_t getWidth(Value bytes) {
  auto type = cast<VectorType>(bytes.getType());
  return type.getNumElements() * type.getElementTypeBitWidth() / 8;
}

/// The numbers as float32, but for a factor of 2^-120 and NaN.
static Value emitFloats(Arith &math, Value bytes) {
  int64_t width = getWidth(bytes);
  auto type = VectorType::get(width, math.b.getI32Type());
  // Each byte in the highest bits of an i32.
  Value bits;
  if (getElementTypeOrSelf(bytes).isInteger(32)) {
    SmallVector<Value> words;
    SmallVector<Attribute> shifts;
    for (int64_t i = 0; i < width; ++i) {
      words.push_back(math.extract(bytes, i / 4));
      shifts.push_back(math.b.getI32IntegerAttr(24 - 8 * (i % 4)));
    }
    bits = math.apply<vector::FromElementsOp>(type, words);
    bits = math.shiftLeft(bits, math.apply<arith::ConstantOp>(
                                    DenseElementsAttr::get(type, shifts)));
  } else {
    bits = math.apply<arith::ExtUIOp>(type, bytes);
    bits = math.shiftLeft(bits, math.constant(type, 24));
  }
  // Moves exponent and fraction into place and leaves the sign where it is.
  bits = math.apply<arith::ShRSIOp>(bits, math.constant(type, 4));
  bits = math.both(bits, math.constant(type, 0x87f00000));
  return math.apply<arith::BitcastOp>(type.clone(math.b.getF32Type()), bits);
}

/// The scale, as the bits of a float32.
static Value emitScale(Arith &math, Value raw, KVType type) {
  Value bits = math.extract(raw, 0);
  if (type == KVType::F32)
    return bits;
  // The byte is float32's exponent, but for 0, whose power is subnormal, and
  // 255, which would be infinity.
  Value byte = math.apply<arith::ExtUIOp>(math.b.getI32Type(), bits);
  bits = math.shiftLeft(byte, math.i32(23));
  auto replace = [&](int64_t value, int64_t other) {
    Value is = math.equal(byte, math.i32(value));
    bits = math.select(is, math.i32(other), bits);
  };
  replace(0, 0x00400000);
  replace(255, 0x7fc00000);
  return bits;
}

/// Whether there is NaN among words of numbers.
static Value emitHasNaN(Arith &math, Value words) {
  // A byte's lower bits are all ones only in NaN; plus 1, they carry.
  Type type = words.getType();
  Value carry = math.both(words, math.constant(type, 0x7f7f7f7f));
  carry = math.add(carry, math.constant(type, 0x01010101));
  Value any = math.apply<vector::ReductionOp>(vector::CombiningKind::OR, carry);
  any = math.both(any, math.i32(0x80808080));
  return math.notEqual(any, math.i32(0));
}

/// Whether a float32 scale times 2^120 may be infinite.
static Value emitIsLarge(Arith &math, Value scale) {
  // 2^8 times 2^120 is the first power of two that is infinity.
  Value magnitude = math.both(scale, math.i32(0x7fffffff));
  return math.isOutside(magnitude, math.i32(0x43800000));
}

/// Products with a power of two, of words of numbers without NaN.
static Value emitExactProduct(Arith &math, Value words, Value scale) {
  auto type = cast<VectorType>(words.getType());
  auto halves =
      VectorType::get(2 * type.getNumElements(), math.b.getBF16Type());
  // bf16 is the upper half of a float32.
  Value factor = math.shiftRight(scale, math.i32(16));
  factor = math.apply<arith::TruncIOp>(math.b.getI16Type(), factor);
  factor = math.apply<arith::BitcastOp>(math.b.getBF16Type(), factor);
  factor = math.apply<vector::BroadcastOp>(halves, factor);
  // The products of the bytes that are the upper ones in halves of words.
  auto multiply = [&](Value upper) -> Value {
    Value sign = math.both(upper, math.constant(type, 0x80008000));
    Value bits = math.shiftRight(upper, math.constant(type, 4));
    bits = math.both(bits, math.constant(type, 0x07f007f0));
    bits = math.either(bits, sign);
    Value numbers = math.apply<vector::BitCastOp>(halves, bits);
    Value power = math.constantFloat(halves, 0x1p120);
    numbers = math.apply<arith::MulFOp>(numbers, power);
    return math.apply<arith::MulFOp>(numbers, factor);
  };
  Value even = multiply(math.shiftLeft(words, math.constant(type, 8)));
  Value odd = multiply(words);
  return toBF16Storage(math, math.apply<vector::InterleaveOp>(even, odd));
}

/// Products with a scale that is not large, of numbers without NaN.
static Value emitProduct(Arith &math, Value floats, Value scale) {
  Type f32 = math.b.getF32Type();
  Value factor = math.apply<arith::BitcastOp>(f32, scale);
  Value power = math.constantFloat(f32, 0x1p120);
  factor = math.apply<arith::MulFOp>(factor, power);
  factor = math.apply<vector::BroadcastOp>(floats.getType(), factor);
  return toBF16Storage(math, math.apply<arith::MulFOp>(floats, factor));
}

/// Products of any numbers with any scale.
static Value emitAnyProduct(Arith &math, Value floats, Value scale) {
  auto type = cast<VectorType>(floats.getType());
  Type bitsType = type.clone(math.b.getI32Type());
  floats = math.apply<arith::MulFOp>(floats, math.constantFloat(type, 0x1p120));
  Value bits = math.apply<arith::BitcastOp>(bitsType, floats);
  bits = math.both(bits, math.constant(bitsType, 0x7fffffff));
  Value isNaN = math.equal(
      bits, math.constant(bitsType, llvm::bit_cast<int32_t>(480.0f)));
  Value nan =
      math.constantFloat(type, std::numeric_limits<double>::quiet_NaN());
  floats = math.select(isNaN, nan, floats);
  Value factor = math.apply<arith::BitcastOp>(math.b.getF32Type(), scale);
  factor = math.apply<vector::BroadcastOp>(type, factor);
  return toBF16Storage(math, math.apply<arith::MulFOp>(floats, factor));
}

Value nsa::emitScaledE4M3(Arith &math, Value bytes, Value raw,
                          KVType scaleType) {
  Value scale = emitScale(math, raw, scaleType);
  auto emitAny = [&] {
    return emitAnyProduct(math, emitFloats(math, bytes), scale);
  };
  if (!getElementTypeOrSelf(bytes).isInteger(32))
    return emitAny();
  bool isExact = scaleType == KVType::UE8M0;
  Value isSpecial = emitHasNaN(math, bytes);
  if (!isExact)
    isSpecial = math.either(isSpecial, emitIsLarge(math, scale));
  return math.emitIf(
      getBF16StorageType(math, getWidth(bytes)), isSpecial, emitAny, [&] {
        return isExact ? emitExactProduct(math, bytes, scale)
                       : emitProduct(math, emitFloats(math, bytes), scale);
      });
}

VectorType nsa::getBF16StorageType(Arith &math, int64_t width) {
  return width % 2 == 0 ? VectorType::get(width / 2, math.b.getI32Type())
                        : VectorType::get(width, math.b.getI16Type());
}

Value nsa::toBF16Storage(Arith &math, Value value) {
  auto type = cast<VectorType>(value.getType());
  if (type.getElementType().isF32()) {
    type = type.clone(math.b.getBF16Type());
    value = math.apply<arith::TruncFOp>(type, value);
  }
  int64_t bits = type.getNumElements() * type.getElementTypeBitWidth();
  return math.apply<vector::BitCastOp>(getBF16StorageType(math, bits / 16),
                                       value);
}
