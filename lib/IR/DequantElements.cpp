//===- DequantElements.cpp - Elements of a quantised cache ----------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A thread computes a few vectors of consecutive columns, in three phases, each
// for all vectors before the next begins:
//
//   1. ids, and from them pages, slots, and which field a column lies in;
//   2. loads of cache bytes, each under the condition that its row and its
//   field
//      are the right ones, and 0 otherwise;
//   3. conversion, which does not ask what was loaded: what was not is 0, so
//   the
//      fields' results are or-ed.
//
// So the loads of all vectors are in flight together, and no contents make a
// kernel leave the cache. Everything is integer and float32 arithmetic that all
// targets have.
//
//===----------------------------------------------------------------------===//

#include "nsa/IR/NSADialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nsa;

namespace {
/// A field, and where it begins in the row and among the scales.
struct Field {
  KVRun run;
  int64_t column;
  int64_t scale;
};

/// What phase 1 finds out about a point.
struct Place {
  Value isToken;
  Value page, slot, column;
};

/// What phase 2 loads for a field at a point. `scale` is null for bf16.
struct Raw {
  Value data, scale;
};

/// Emits `width` columns at each of some points.
class Emitter {
public:
  Emitter(DequantPagedOp op, MutableArrayRef<ElementBuilder> builders,
          int64_t width)
      : op(op), layout(op.getLayout()), builders(builders),
        b(op.getLoc(), builders.front().b), width(width),
        cache(builders.front().lookup(op.getCache())) {
    int64_t column = 0, scale = 0;
    for (const KVRun &run : layout.getFields()) {
      fields.push_back({run, column, scale});
      column += run.count;
      if (run.type == KVType::E4M3)
        scale += run.count / layout.getGroup();
    }
  }

  SmallVector<Value> emit(ArrayRef<SmallVector<Value>> points);

private:
  Place emitPlace(ElementBuilder &builder, ValueRange point);

  int64_t getAccessBytes();
  Value emitIsAligned();
  SmallVector<Value> emitLoads(ArrayRef<Place> places, bool isAligned);
  /// The bytes from `offset` on, as one integer or float.
  Value emitLoad(const Place &place, Value offset, int64_t bytes,
                 bool isAligned);
  Raw emitRaw(const Place &place, const Field &field, bool isAligned);

  /// The bytes as float32, but for a factor of 2^-120 and NaN.
  Value emitE4M3(Value bytes);
  /// The scale, as the bits of a float32.
  Value emitScale(Value raw);
  /// Whether a product is NaN, or may be infinite before it has its right size.
  Value emitIsSpecial(Value bytes, Value scale);
  Value emitProduct(Value numbers, Value scale);
  Value emitSpecialProduct(Value numbers, Value scale);
  /// As storage: i32 words, or i16 if the width is odd.
  Value emitBF16(const Raw &raw);
  Value toStorage(Value floats);

  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(b, value);
  }
  Value i32(int64_t value) {
    return arith::ConstantIntOp::create(b, value, 32);
  }
  VectorType vectorOf(Type type, int64_t count) {
    return VectorType::get(count, type);
  }
  /// `width` times the same i32.
  Value splat(uint32_t value) {
    auto type = vectorOf(b.getI32Type(), width);
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(type, APInt(32, value)));
  }
  Value splat(float value) {
    auto type = vectorOf(b.getF32Type(), width);
    return arith::ConstantOp::create(b, DenseElementsAttr::get(type, value));
  }
  /// The type in which `bytes` of bf16 and e4m3 travel: words where they fit.
  VectorType getRawType(int64_t bytes) {
    if (bytes % 4 == 0)
      return vectorOf(b.getI32Type(), bytes / 4);
    return vectorOf(b.getI8Type(), bytes);
  }

  DequantPagedOp op;
  KVLayoutAttr layout;
  MutableArrayRef<ElementBuilder> builders;
  ImplicitLocOpBuilder b;
  int64_t width;
  Value cache;
  SmallVector<Field> fields;
};
} // namespace

//===----------------------------------------------------------------------===//
// Places
//===----------------------------------------------------------------------===//

Place Emitter::emitPlace(ElementBuilder &builder, ValueRange point) {
  int64_t pageSize = op.getPageSize();
  Value id = builder.element(op.getIds(), point.front());
  id = arith::IndexCastOp::create(b, b.getIndexType(), id);
  Value pages = builder.dim(op.getCache(), 0);
  Value tokens = arith::MulIOp::create(b, pages, index(pageSize));
  // Unsigned, so that a negative id is too large.
  Value isToken =
      arith::CmpIOp::create(b, arith::CmpIPredicate::ult, id, tokens);
  Value page = id, slot = index(0);
  if (llvm::isPowerOf2_64(pageSize)) {
    page = arith::ShRUIOp::create(b, id, index(llvm::Log2_64(pageSize)));
    slot = arith::AndIOp::create(b, id, index(pageSize - 1));
  } else {
    page = arith::DivUIOp::create(b, id, index(pageSize));
    slot = arith::SubIOp::create(
        b, id, arith::MulIOp::create(b, page, index(pageSize)));
  }
  return {isToken, page, slot, point.back()};
}

//===----------------------------------------------------------------------===//
// Loads
//===----------------------------------------------------------------------===//

/// The widest access of a target: wider vectors are loaded in parts.
static constexpr int64_t mostAccessBytes = 16;

/// The largest access, if all accesses of whole vectors are multiples of their
/// own size away from the page's start, else 0.
int64_t Emitter::getAccessBytes() {
  bool isPaged = op.getPageSize() > 1;
  int64_t largest = 0;
  auto isMultiple = [&](int64_t bytes, int64_t first, int64_t stride) {
    bytes = std::min(bytes, mostAccessBytes);
    largest = std::max(largest, bytes);
    return llvm::isPowerOf2_64(bytes) && first % bytes == 0 &&
           (!isPaged || stride % bytes == 0);
  };
  for (const Field &field : fields)
    if (!isMultiple(width * getBytes(field.run.type), field.run.offset,
                    layout.getDataBytes()))
      return 0;
  const KVRun &scales = layout.getScales();
  bool isInline = layout.isInline();
  int64_t first = scales.offset;
  if (!isInline)
    first += op.getPageSize() * layout.getDataBytes();
  if (!isMultiple(getBytes(scales.type), first,
                  isInline ? layout.getDataBytes() : layout.getFooterBytes()))
    return 0;
  return largest;
}

/// Whether pages start at multiples of the largest access. Null: never.
Value Emitter::emitIsAligned() {
  int64_t bytes = getAccessBytes();
  if (bytes == 0)
    return {};
  Value address = memref::ExtractAlignedPointerAsIndexOp::create(b, cache);
  auto metadata = memref::ExtractStridedMetadataOp::create(b, cache);
  Value bits = arith::OrIOp::create(b, address, metadata.getStrides().front());
  bits = arith::AndIOp::create(b, bits, index(bytes - 1));
  return arith::CmpIOp::create(b, arith::CmpIPredicate::eq, bits, index(0));
}

Value Emitter::emitLoad(const Place &place, Value offset, int64_t bytes,
                        bool isAligned) {
  return vector::LoadOp::create(
      b, vectorOf(b.getI8Type(), bytes), cache, ValueRange{place.page, offset},
      /*nontemporal=*/false,
      llvm::MaybeAlign(isAligned ? std::min(bytes, mostAccessBytes) : 1));
}

/// Phase 2 for one field at one point.
Raw Emitter::emitRaw(const Place &place, const Field &field, bool isAligned) {
  const KVRun &run = field.run, &scales = layout.getScales();
  bool isScaled = run.type == KVType::E4M3;
  int64_t bytes = width * getBytes(run.type);
  Type dataType = getRawType(bytes);
  Type scaleType = vectorOf(b.getI8Type(), getBytes(scales.type));
  if (scales.type == KVType::F32)
    scaleType = vectorOf(b.getI32Type(), 1);

  Value isMine = place.isToken;
  auto require = [&](arith::CmpIPredicate predicate, int64_t column) {
    Value is = arith::CmpIOp::create(b, predicate, place.column, index(column));
    isMine = arith::AndIOp::create(b, isMine, is);
  };
  if (field.column > 0)
    require(arith::CmpIPredicate::uge, field.column);
  require(arith::CmpIPredicate::ult, field.column + run.count);

  auto ifOp = scf::IfOp::create(
      b, isMine,
      [&](OpBuilder &, Location) {
        Value column =
            arith::SubIOp::create(b, place.column, index(field.column));
        Value data =
            arith::MulIOp::create(b, place.slot, index(layout.getDataBytes()));
        Value offset = arith::AddIOp::create(
            b, arith::MulIOp::create(b, column, index(getBytes(run.type))),
            index(run.offset));
        offset = arith::AddIOp::create(b, data, offset);
        SmallVector<Value> values = {vector::BitCastOp::create(
            b, dataType, emitLoad(place, offset, bytes, isAligned))};
        if (isScaled) {
          Value entry = data;
          int64_t first = scales.offset + field.scale * getBytes(scales.type);
          if (!layout.isInline()) {
            entry = arith::MulIOp::create(b, place.slot,
                                          index(layout.getFooterBytes()));
            first += op.getPageSize() * layout.getDataBytes();
          }
          Value group =
              arith::DivUIOp::create(b, column, index(layout.getGroup()));
          offset = arith::AddIOp::create(
              b, arith::MulIOp::create(b, group, index(getBytes(scales.type))),
              index(first));
          offset = arith::AddIOp::create(b, entry, offset);
          values.push_back(vector::BitCastOp::create(
              b, scaleType,
              emitLoad(place, offset, getBytes(scales.type), isAligned)));
        }
        scf::YieldOp::create(b, values);
      },
      [&](OpBuilder &, Location) {
        SmallVector<Value> values = {
            arith::ConstantOp::create(b, b.getZeroAttr(dataType))};
        if (isScaled)
          values.push_back(
              arith::ConstantOp::create(b, b.getZeroAttr(scaleType)));
        scf::YieldOp::create(b, values);
      });
  return {ifOp.getResult(0), isScaled ? ifOp.getResult(1) : Value()};
}

/// Phase 2: data and, for e4m3, scale of each field at each place, in a row.
SmallVector<Value> Emitter::emitLoads(ArrayRef<Place> places, bool isAligned) {
  SmallVector<Value> values;
  for (const Place &place : places)
    for (const Field &field : fields) {
      Raw raw = emitRaw(place, field, isAligned);
      values.push_back(raw.data);
      if (raw.scale)
        values.push_back(raw.scale);
    }
  return values;
}

//===----------------------------------------------------------------------===//
// Conversion
//===----------------------------------------------------------------------===//

// e4m3 has the fields of float32, four exponent bits instead of eight and three
// bits of fraction instead of 23. Put in the places of float32's, they make a
// number (a subnormal one if it was subnormal) that is right but for the
// exponent's bias, which is 7 instead of 127: a factor of 2^120 is missing. It
// goes into the scale, so that one multiplication, rounded once, does both. Two
// kinds of vectors need more, and take another way: those with NaN, whose bits
// would be those of 480, and those whose scale is too large for the factor.

Value Emitter::emitE4M3(Value bytes) {
  // Each byte in the highest bits of an i32.
  Value bits;
  if (width % 4 == 0) {
    SmallVector<Value> words;
    SmallVector<Attribute> shifts;
    for (int64_t i = 0; i < width; ++i) {
      words.push_back(vector::ExtractOp::create(b, bytes, i / 4));
      shifts.push_back(b.getI32IntegerAttr(24 - 8 * (i % 4)));
    }
    auto type = vectorOf(b.getI32Type(), width);
    bits = vector::FromElementsOp::create(b, type, words);
    bits = arith::ShLIOp::create(
        b, bits,
        arith::ConstantOp::create(b, DenseElementsAttr::get(type, shifts)));
  } else {
    bits = arith::ExtUIOp::create(b, vectorOf(b.getI32Type(), width), bytes);
    bits = arith::ShLIOp::create(b, bits, splat(uint32_t(24)));
  }
  // Moves exponent and fraction into place and leaves the sign where it is.
  bits = arith::ShRSIOp::create(b, bits, splat(uint32_t(4)));
  bits = arith::AndIOp::create(b, bits, splat(uint32_t(0x87f00000)));
  return arith::BitcastOp::create(b, vectorOf(b.getF32Type(), width), bits);
}

Value Emitter::emitScale(Value raw) {
  Value bits = vector::ExtractOp::create(b, raw, 0);
  if (layout.getScales().type == KVType::F32)
    return bits;
  // The byte is float32's exponent, but for 0, whose power is subnormal, and
  // 255, which would be infinity.
  Value byte = arith::ExtUIOp::create(b, b.getI32Type(), bits);
  bits = arith::ShLIOp::create(b, byte, i32(23));
  auto replace = [&](int64_t value, int64_t other) {
    Value is =
        arith::CmpIOp::create(b, arith::CmpIPredicate::eq, byte, i32(value));
    bits = arith::SelectOp::create(b, is, i32(other), bits);
  };
  replace(0, 0x00400000);
  replace(255, 0x7fc00000);
  return bits;
}

Value Emitter::emitIsSpecial(Value bytes, Value scale) {
  // A byte's lower bits are all ones only in NaN; plus 1, they carry.
  auto type = cast<VectorType>(bytes.getType());
  auto words = [&](uint32_t value) -> Value {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(type, APInt(32, value)));
  };
  Value carry = arith::AndIOp::create(b, bytes, words(0x7f7f7f7f));
  carry = arith::AddIOp::create(b, carry, words(0x01010101));
  Value any = vector::ReductionOp::create(b, vector::CombiningKind::OR, carry);
  any = arith::AndIOp::create(b, any, i32(0x80808080));
  Value hasNaN =
      arith::CmpIOp::create(b, arith::CmpIPredicate::ne, any, i32(0));
  // 2^8 times 2^120 is the first power of two that is infinity.
  Value magnitude = arith::AndIOp::create(b, scale, i32(0x7fffffff));
  Value isLarge = arith::CmpIOp::create(b, arith::CmpIPredicate::uge, magnitude,
                                        i32(0x43800000));
  return arith::OrIOp::create(b, hasNaN, isLarge);
}

Value Emitter::emitProduct(Value numbers, Value scale) {
  Value factor = arith::BitcastOp::create(b, b.getF32Type(), scale);
  Value power = arith::ConstantOp::create(b, b.getF32FloatAttr(0x1p120f));
  factor = arith::MulFOp::create(b, factor, power);
  factor = vector::BroadcastOp::create(b, numbers.getType(), factor);
  return toStorage(arith::MulFOp::create(b, numbers, factor));
}

Value Emitter::emitSpecialProduct(Value numbers, Value scale) {
  numbers = arith::MulFOp::create(b, numbers, splat(0x1p120f));
  Value bits =
      arith::BitcastOp::create(b, vectorOf(b.getI32Type(), width), numbers);
  bits = arith::AndIOp::create(b, bits, splat(uint32_t(0x7fffffff)));
  Value isNaN = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, bits,
                                      splat(llvm::bit_cast<uint32_t>(480.0f)));
  numbers = arith::SelectOp::create(
      b, isNaN, splat(std::numeric_limits<float>::quiet_NaN()), numbers);
  Value factor = arith::BitcastOp::create(b, b.getF32Type(), scale);
  factor = vector::BroadcastOp::create(b, numbers.getType(), factor);
  return toStorage(arith::MulFOp::create(b, numbers, factor));
}

Value Emitter::toStorage(Value value) {
  VectorType type = vectorOf(b.getI16Type(), width);
  if (getElementTypeOrSelf(value).isF32()) {
    value = arith::TruncFOp::create(b, vectorOf(b.getBF16Type(), width), value);
    value = arith::BitcastOp::create(b, type, value);
  } else {
    value = vector::BitCastOp::create(b, type, value);
  }
  if (width % 2 == 0)
    value = vector::BitCastOp::create(b, vectorOf(b.getI32Type(), width / 2),
                                      value);
  return value;
}

Value Emitter::emitBF16(const Raw &raw) {
  if (!raw.scale)
    return toStorage(raw.data);
  Value numbers = emitE4M3(raw.data);
  Value scale = emitScale(raw.scale);
  if (width % 4 != 0)
    return emitSpecialProduct(numbers, scale);
  auto ifOp = scf::IfOp::create(
      b, emitIsSpecial(raw.data, scale),
      [&](OpBuilder &, Location) {
        scf::YieldOp::create(b, emitSpecialProduct(numbers, scale));
      },
      [&](OpBuilder &, Location) {
        scf::YieldOp::create(b, emitProduct(numbers, scale));
      });
  return ifOp.getResult(0);
}

//===----------------------------------------------------------------------===//
// All phases
//===----------------------------------------------------------------------===//

SmallVector<Value> Emitter::emit(ArrayRef<SmallVector<Value>> points) {
  SmallVector<Place> places;
  for (auto [builder, point] : llvm::zip_equal(builders, points))
    places.push_back(emitPlace(builder, point));

  SmallVector<Value> loaded;
  if (Value isAligned = emitIsAligned()) {
    // One branch around all loads: it is the same for all threads.
    auto emitBranch = [&](bool aligned) {
      return [&, aligned](OpBuilder &, Location) {
        scf::YieldOp::create(b, emitLoads(places, aligned));
      };
    };
    auto ifOp =
        scf::IfOp::create(b, isAligned, emitBranch(true), emitBranch(false));
    llvm::append_range(loaded, ifOp.getResults());
  } else {
    loaded = emitLoads(places, /*isAligned=*/false);
  }

  SmallVector<Value> vectors;
  ArrayRef<Value> next = loaded;
  for (size_t i = 0; i < points.size(); ++i) {
    Value result;
    for (const Field &field : fields) {
      Raw raw = {next.consume_front(), {}};
      if (field.run.type == KVType::E4M3)
        raw.scale = next.consume_front();
      Value part = emitBF16(raw);
      result = result ? arith::OrIOp::create(b, result, part) : part;
    }
    vectors.push_back(
        vector::BitCastOp::create(b, vectorOf(b.getI16Type(), width), result));
  }
  return vectors;
}

bool DequantPagedOp::isUniform(int64_t width) {
  int64_t column = 0;
  for (const KVRun &run : getLayout().getFields()) {
    column += run.count;
    if (column % width != 0 ||
        (run.type == KVType::E4M3 && getLayout().getGroup() % width != 0))
      return false;
  }
  return true;
}

SmallVector<Value>
DequantPagedOp::emitPoints(MutableArrayRef<ElementBuilder> builders,
                           ArrayRef<SmallVector<Value>> points, int64_t width) {
  if (isUniform(width))
    return Emitter(*this, builders, width).emit(points);
  SmallVector<Value> vectors;
  for (auto [builder, point] : llvm::zip_equal(builders, points))
    vectors.push_back(builder.emitLanes(point, width, [&](ValueRange lane) {
      return emitElement(builder, lane);
    }));
  return vectors;
}

Value DequantPagedOp::emitElements(ElementBuilder &builder, ValueRange indices,
                                   int64_t width) {
  return emitPoints(builder, SmallVector<Value>(indices), width).front();
}

Value DequantPagedOp::emitElement(ElementBuilder &builder, ValueRange indices) {
  Value lanes = emitElements(builder, indices, 1);
  return vector::ExtractOp::create(builder.b, getLoc(), lanes, 0);
}
