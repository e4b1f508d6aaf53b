//===- Stores.h - Where the elements of a copy go ---------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CONVERSION_STORES_H
#define NSA_LIB_CONVERSION_STORES_H

#include "nsa/Codegen/Elements.h"

namespace nsa {

//===----------------------------------------------------------------------===//
// What is stored at all
//===----------------------------------------------------------------------===//

/// Whether a size may be negative: one that the text computes. (Launchers check
/// ports, and arrays have no such sizes.)
bool mayBeNegative(Value size);
/// Emits `body` where `size` is 0 or more.
void emitIfNotNegative(ElementBuilder &builder, Value size,
                       function_ref<void()> body);

/// Emits `body` where `copy` writes element `index`: from its `from` on.
void emitIfCopied(ElementBuilder &builder, CopyOp copy, Value index,
                  function_ref<void()> body);

/// Whether some array that `copy` writes may be missing.
bool hasOptionalDestinations(CopyOp copy);

/// Emits `body` for each destination of `copy` whose array is there.
void emitForDestinations(ElementBuilder &builder, CopyOp copy,
                         function_ref<void(Value)> body);

/// Stores `element` at `indices` of each destination of `copy` whose array is
/// there.
void storeElement(ElementBuilder &builder, CopyOp copy, Value element,
                  ValueRange indices);

/// Whether any array is there that `segment` writes (i1), or null for yes.
Value emitIsWanted(ElementBuilder &builder, SegmentOp segment);

//===----------------------------------------------------------------------===//
// Vectors
//===----------------------------------------------------------------------===//

/// The elements of a vector that a copy writes.
struct Written {
  /// Columns of the destination.
  int64_t from;
  Value end;
  /// Of the same vector, 0 for those that stay as they are; null for none.
  Value mask = {};

  /// Whether columns `first` to `last` are all among them.
  Value contain(Arith &math, Value first, Value last) const;
  /// Whether lane `lane`, which is column `column`, is among them.
  Value containLane(Arith &math, Value column, int64_t lane) const;
  /// Whether the mask has `count` lanes that are set.
  Value isWhole(Arith &math, int64_t count) const;

private:
  Value isSet(Arith &math, int64_t lane) const;
};

/// A thread's elements, as vectors that one access can store.
struct Parts {
  SmallVector<Value> vectors;
  /// Columns from each to the next.
  int64_t distance;

  /// `vector` cut into parts that follow one another, of at most `bytes` bytes.
  static Parts of(Arith &math, Value vector, int64_t bytes);

  VectorType getType() const {
    return cast<VectorType>(vectors.front().getType());
  }
  int64_t getWidth() const { return getType().getNumElements(); }
  /// Columns from the first part to the end of the last one.
  int64_t getSpan() const {
    return (vectors.size() - 1) * distance + getWidth();
  }
};

/// Stores all elements by the widest accesses.
void storeWide(ElementBuilder &builder, const Parts &parts, Value destination,
               ValueRange indices);

/// Whether parts can be stored by the widest accesses to `row` of the array
/// behind `port`, or to every row where it is null. Null if they never can.
Value emitCanStoreWide(ElementBuilder &builder, const Parts &parts, Value port,
                       Value row);

/// Stores the elements that are written: by the widest accesses if all are and
/// the destination's row is aligned.
void storeParts(ElementBuilder &builder, const Parts &parts, Value port,
                ValueRange indices, const Written &written);

/// Stores lane i of `vector` to the place in the array behind `port` that lane
/// i of each of `places` says, if it is inside: by one access, where places are
/// expected to follow one another (`inRuns`) and do.
void storeScattered(ElementBuilder &builder, Value vector, Value port,
                    ValueRange places, Value column, const Written &written,
                    bool inRuns);

} // namespace nsa

#endif // NSA_LIB_CONVERSION_STORES_H
