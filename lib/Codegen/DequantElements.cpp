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
//   1. ids, and from them the places of a vector's data and scale;
//   2. loads of cache bytes, each under the condition that it is in the cache
//      and needed, and 0 otherwise;
//   3. conversion and a choice by the field's type.
//
// So the loads of all vectors are in flight together, and no contents make a
// kernel leave the cache. Fields differ in addresses, not in instructions: a
// warp with columns of two fields loads both at once. Everything is arithmetic
// that all targets have.
//
//===----------------------------------------------------------------------===//

#include "E4M3.h"
#include "Elements.h"

#include "nsa/Codegen/GuardedOps.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Remarks.h"

using namespace mlir;
using namespace nsa;

/// The largest power of 2 that divides `bytes` and, in every token of a page,
/// the place `first` bytes into something of `stride` bytes a token.
static int64_t getCommonAlignment(int64_t bytes, int64_t first, int64_t stride,
                                  int64_t pageSize) {
  uint64_t all = bytes | first | (pageSize == 1 ? 0 : stride);
  return int64_t(all & -all);
}

namespace {
/// A field, and where it begins in the row and among the scales.
struct Field {
  KVRun run;
  int64_t column;
  int64_t scale;
};

/// What phase 1 finds out about a point: whether it is in the cache and
/// quantised (i1), and where in its page data and scale are.
struct Place {
  Value isCached, isScaled;
  Value page, data, scale;
};

/// What phase 2 loads at a point: as many bytes as columns, as many again if
/// they are bf16, and the scale if they are not. Null where no field has it.
struct Raw {
  Value data, more, scale;
};

/// Emits `width` columns at each of some points.
class Emitter : Arith {
public:
  Emitter(DequantPagedOp op, MutableArrayRef<ElementBuilder> builders,
          int64_t width)
      : Arith(builders.front().b, getNamedLoc(op)), op(op),
        layout(op.getLayout()), builders(builders), width(width),
        cache(builders.front().lookup(op.getCache())) {
    int64_t column = 0, scale = 0;
    for (const KVRun &run : layout.getFields()) {
      fields.push_back({run, column, scale});
      column += run.count;
      if (run.type == KVType::E4M3)
        scale += run.count / layout.getGroup();
    }
  }

  SmallVector<Value> emit(ArrayRef<SmallVector<Value>> points) {
    SmallVector<Place> places;
    for (auto [builder, point] : llvm::zip_equal(builders, points))
      places.push_back(emitPlace(builder, point));

    SmallVector<Value> loaded;
    if (Value isAligned = emitIsAligned()) {
      // One branch around all loads: it is the same for all threads.
      auto emitBranch = [&](bool aligned) {
        return [&, aligned](OpBuilder &, Location) {
          scf::YieldOp::create(b, loc, emitLoads(places, aligned));
        };
      };
      auto ifOp = scf::IfOp::create(b, loc, isAligned, emitBranch(true),
                                    emitBranch(false));
      llvm::append_range(loaded, ifOp.getResults());
    } else {
      loaded = emitLoads(places, /*isAligned=*/false);
    }

    SmallVector<Value> vectors;
    ArrayRef<Value> next = loaded;
    for (size_t i = 0; i < points.size(); ++i) {
      Raw raw = {next.consume_front(), {}, {}};
      if (hasField(KVType::BF16))
        raw.more = next.consume_front();
      if (hasField(KVType::E4M3))
        raw.scale = next.consume_front();
      vectors.push_back(apply<vector::BitCastOp>(
          vectorOf(b.getI16Type(), width), emitBF16(raw, places[i].isScaled)));
    }
    return vectors;
  }

private:
  Place emitPlace(ElementBuilder &builder, ValueRange point) {
    int64_t pageSize = op.getPageSize();
    Value id = builder.rowValues(op, point.front()).front();
    Value pages = builder.dim(op.getCache(), 0);
    Value tokens = mul(pages, index(pageSize));
    // Unsigned, so that a negative id is too large.
    Value isToken = isInside(toIndex(id), tokens);
    auto ofId = [&](int64_t value) { return constant(id.getType(), value); };
    Value page, slot;
    if (llvm::isPowerOf2_64(pageSize)) {
      page = shiftRight(id, ofId(llvm::Log2_64(pageSize)));
      slot = both(id, ofId(pageSize - 1));
    } else {
      page = divUnsigned(id, ofId(pageSize));
      slot = sub(id, mul(page, ofId(pageSize)));
    }
    page = toIndexUnsigned(page);

    // Within a page, places are counted in words of one register where they
    // fit.
    Type type = llvm::isInt<32>(layout.getPageBytes(pageSize)) ? b.getI32Type()
                                                               : b.getI64Type();
    auto inType = [&](int64_t value) { return constant(type, value); };
    auto toPlace = [&](Value value) -> Value {
      if (!value.getType().isIndex())
        value = toIndexUnsigned(value);
      return apply<arith::IndexCastUIOp>(type, value);
    };
    slot = toPlace(slot);
    Value column = toPlace(point.back());
    // `stride` bytes for each of the columns since the field's first, or for
    // each group of them.
    auto place = [&](const Field &field, int64_t first, int64_t stride,
                     int64_t group) -> Value {
      Value number = sub(column, inType(field.column));
      number = divUnsigned(number, inType(group));
      return add(mul(number, inType(stride)), inType(first));
    };
    Value isScaled = selectByField(column, [&](const Field &field) -> Value {
      return i1(isQuantised(field));
    });
    Value data = selectByField(column, [&](const Field &field) {
      return place(field, field.run.offset, getBytes(field.run.type), 1);
    });
    Value scale = selectByField(column, [&](const Field &field) {
      int64_t bytes = getBytes(layout.getScales().type);
      if (!isQuantised(field))
        return inType(0);
      return place(field, getFirstScale() + field.scale * bytes, bytes,
                   layout.getGroup());
    });
    auto inPage = [&](Value offset, int64_t stride) -> Value {
      offset = add(mul(slot, inType(stride)), offset);
      return toIndexUnsigned(offset);
    };
    Value isColumn = isInside(column, inType(layout.getRowSize()));
    return {both(isToken, isColumn), isScaled, page,
            inPage(data, layout.getDataBytes()),
            inPage(scale, getScaleStride())};
  }

  /// What `get` gives for the field that `column` lies in.
  Value selectByField(Value column, function_ref<Value(const Field &)> get) {
    Value result;
    for (const Field &field : fields) {
      Value value = get(field);
      if (!result) {
        result = value;
        continue;
      }
      Value first = constant(column.getType(), field.column);
      Value isHere = isOutside(column, first);
      result = select(isHere, value, result);
    }
    return result;
  }

  /// Bytes that divide the distance of every access to data, or to scales, from
  /// the page's start: those of the access, or less.
  int64_t getDataAlignment() {
    int64_t bytes = width;
    for (const Field &field : fields)
      bytes = getCommonAlignment(bytes, field.run.offset, layout.getDataBytes(),
                                 op.getPageSize());
    return bytes;
  }

  int64_t getScaleAlignment() {
    return getCommonAlignment(getBytes(layout.getScales().type),
                              getFirstScale(), getScaleStride(),
                              op.getPageSize());
  }

  /// Whether pages start at multiples of the largest access. Null: that would
  /// not help.
  Value emitIsAligned() {
    int64_t bytes = std::max(getDataAlignment(), getScaleAlignment());
    if (getDataAlignment() < width)
      remark::missed(op.getLoc(),
                     remark::RemarkOpts::name("DequantPaged").category("nsa"))
          << remark::add("loads {0} bytes at a time, not {1}",
                         getDataAlignment(), width)
          << remark::reason("fields begin at multiples of {0} bytes only",
                            getDataAlignment());
    if (bytes == 1)
      return {};
    Value address = apply<memref::ExtractAlignedPointerAsIndexOp>(cache);
    auto metadata = memref::ExtractStridedMetadataOp::create(b, loc, cache);
    Value bits = either(address, metadata.getStrides().front());
    bits = both(bits, index(bytes - 1));
    return equal(bits, index(0));
  }

  /// Phase 2: what `Raw` has at each place, in a row.
  SmallVector<Value> emitLoads(ArrayRef<Place> places, bool isAligned) {
    int64_t scaleBytes = getBytes(layout.getScales().type);
    VectorType scaleType = scaleBytes == 4
                               ? vectorOf(b.getI32Type(), 1)
                               : vectorOf(b.getI8Type(), scaleBytes);
    SmallVector<Value> values;
    for (const Place &place : places) {
      auto load = [&](Value condition, Value offset, int64_t bytes,
                      VectorType type, int64_t alignment) {
        values.push_back(emitLoad(both(place.isCached, condition), place.page,
                                  offset, bytes, type,
                                  isAligned ? alignment : 1));
      };
      Value yes = i1(true);
      load(yes, place.data, width, getRawType(), getDataAlignment());
      if (hasField(KVType::BF16))
        load(apply<arith::XOrIOp>(place.isScaled, yes),
             add(place.data, index(width)), width, getRawType(),
             getDataAlignment());
      if (hasField(KVType::E4M3))
        load(place.isScaled, place.scale, scaleBytes, scaleType,
             getScaleAlignment());
    }
    return values;
  }

  /// `bytes` bytes at `offset` of the page as `type` if `condition`, else 0.
  Value emitLoad(Value condition, Value page, Value offset, int64_t bytes,
                 VectorType type, int64_t alignment) {
    return emitIf(
        type, condition,
        [&]() -> Value {
          Value loaded = apply<vector::LoadOp>(
              vectorOf(b.getI8Type(), bytes), cache, ValueRange{page, offset},
              /*nontemporal=*/false, llvm::MaybeAlign(alignment));
          return apply<vector::BitCastOp>(type, loaded);
        },
        [&] { return zero(type); });
  }

  Value emitBF16(const Raw &raw, Value isScaled) {
    auto emitScaled = [&] {
      return emitScaledE4M3(*this, raw.data, raw.scale,
                            layout.getScales().type);
    };
    // What is bf16 in the cache stays as it is.
    auto emitPlain = [&] {
      auto type = cast<VectorType>(raw.data.getType());
      auto order = llvm::to_vector(llvm::seq(2 * type.getNumElements()));
      return toBF16Storage(*this,
                           apply<vector::ShuffleOp>(raw.data, raw.more, order));
    };
    if (!raw.more)
      return emitScaled();
    if (!raw.scale)
      return emitPlain();
    return emitIf(getBF16StorageType(*this, width), isScaled, emitScaled,
                  emitPlain);
  }

  VectorType vectorOf(Type type, int64_t count) {
    return VectorType::get(count, type);
  }
  /// The type in which `width` bytes travel: words where they fit.
  VectorType getRawType() {
    if (width % 4 == 0)
      return vectorOf(b.getI32Type(), width / 4);
    return vectorOf(b.getI8Type(), width);
  }

  static bool isQuantised(const Field &field) {
    return field.run.type == KVType::E4M3;
  }
  bool hasField(KVType type) {
    return llvm::any_of(
        fields, [&](const Field &field) { return field.run.type == type; });
  }
  /// Where in a page the first token's scales are, and from each token's to the
  /// next one's.
  int64_t getFirstScale() {
    int64_t footer = op.getPageSize() * layout.getDataBytes();
    return layout.getScales().offset + (layout.isInline() ? 0 : footer);
  }
  int64_t getScaleStride() {
    return layout.isInline() ? layout.getDataBytes() : layout.getFooterBytes();
  }

  DequantPagedOp op;
  KVLayoutAttr layout;
  MutableArrayRef<ElementBuilder> builders;
  int64_t width;
  Value cache;
  SmallVector<Field> fields;
};
} // namespace

namespace {
struct DequantPagedElements : VectorElementsOf<DequantPagedOp> {
  /// The id, and where it is one of an expansion, whether that has the row.
  SmallVector<Value> emitRow(ElementBuilder &builder, Value row) {
    SmallVector<Value> values = {builder.element(getIds(), row)};
    if (Value isThere = builder.isThere(getIds(), row))
      values.push_back(isThere);
    return values;
  }

  Value emitIsLive(ElementBuilder &builder, ValueRange indices) {
    SmallVector<Value> values = builder.rowValues(*this, indices.front());
    return values.size() > 1 ? values[1] : Value();
  }

  SmallVector<Value> emitPoints(MutableArrayRef<ElementBuilder> builders,
                                ArrayRef<SmallVector<Value>> points,
                                int64_t width) {
    if (isUniform(width))
      return Emitter(*this, builders, width).emit(points);
    SmallVector<Value> vectors;
    for (auto [builder, point] : llvm::zip_equal(builders, points)) {
      auto emitLane = [&, &lanes = builder](ValueRange lane) {
        return emitElement(lanes, lane);
      };
      vectors.push_back(builder.emitLanes(point, width, emitLane));
    }
    return vectors;
  }

  Value emitElements(ElementBuilder &builder, ValueRange indices,
                     int64_t width) {
    return emitPoints(builder, SmallVector<Value>(indices), width).front();
  }
};
} // namespace

void nsa::attachDequantElements(MLIRContext &context) {
  attach<DequantPagedElements>(context);
}
