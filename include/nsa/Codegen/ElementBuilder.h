//===- ElementBuilder.h - Emits elements of nsa values ----------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_CODEGEN_ELEMENTBUILDER_H
#define NSA_CODEGEN_ELEMENTBUILDER_H

#include "nsa/Codegen/Arith.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/DenseMap.h"

namespace nsa {
class ExpandOpInterface;
class Size;

/// What the elements of one row share, by the operation that they come from:
/// see `ElementOpInterface::emitRow`, and `SharedOpInterface::emitShared`.
/// Values stand after the row that they are for, where it is one of several.
using RowValues = llvm::DenseMap<Operation *, SmallVector<Value>>;

/// A row of an expansion.
struct ExpandedRow {
  /// Its request, and its number among that request's rows (index). A row that
  /// is none has no request: what is loaded for it must be guarded.
  Value request, number;
  /// Whether it is one (i1). Null for yes.
  Value isRow;
};

/// Threads that are at the same point and can add up together.
struct Team {
  /// The number of this thread among them (index), and of all.
  Value thread;
  int64_t size;
  /// Emits the sum of an i32 of each, for all.
  std::function<Value(OpBuilder &, Value)> emitSum;
};

/// Has what `math` emits, for a scope, stand at the place of an operation of
/// the step: what a guard says of an access.
class EmittedFor {
public:
  EmittedFor(Arith &math, Operation *op);
  ~EmittedFor() { math.loc = before; }
  EmittedFor(const EmittedFor &) = delete;
  EmittedFor &operator=(const EmittedFor &) = delete;

private:
  Arith &math;
  Location before;
};

/// Emits the code that computes elements of nsa values at one point of an index
/// space, starting from the arrays behind the ports.
///
/// Emission pulls: `element(v, indices)` asks the operation that defines `v`
/// for that element, which asks for elements of its operands, down to loads
/// from `in` ports. The insertion point moves through `b` and must stay in the
/// region in which the builder was made, or inside of it.
class ElementBuilder : public Arith {
public:
  /// `ports` maps the step's ports to memrefs and sizes. `point` is the point
  /// that is emitted for; elements at it, and at its row, are computed once.
  /// `row` is what is known of that row.
  ElementBuilder(OpBuilder &b, Location loc, const IRMapping &ports,
                 ValueRange point, const RowValues *row = nullptr)
      : Arith(b, loc), ports(ports), point(point), home(b.getInsertionBlock()),
        row(row) {}

  /// For a region inside of the one that `outer` emits to: knows what it does.
  ElementBuilder(OpBuilder &b, const ElementBuilder &outer);

  /// The element of `value` at `indices`.
  Value element(Value value, ValueRange indices);

  /// `width` elements of `value` from `indices` on, in the innermost dimension,
  /// as a vector. Those past the end are unspecified.
  Value elements(Value value, ValueRange indices, int64_t width);

  /// Loads `width` elements of the array behind `port` from `indices` on: as
  /// one vector if they are inside the array and aligned, else one by one, with
  /// 0 for those past the end. All are 0 unless `isValid`, which is null for
  /// true and must hold only if the outer index is inside the array.
  using Arith::load;
  Value load(Value port, ValueRange indices, int64_t width, Value isValid = {});

  /// Finds the request of row `row` of the expansion that `op` stands on.
  ExpandedRow expandedRow(ExpandOpInterface op, Value row);
  /// Emits `emit` for a row of `op`, or 0 (of an i32) where it is none.
  Value emitOfRow(ExpandOpInterface op, Value row,
                  function_ref<Value(const ExpandedRow &)> emit);
  /// Whether row `row` of `value`, which is computed from an expansion, is one,
  /// or null for yes: rows past the last one are padded or not there.
  Value isThere(Value value, Value row);

  /// Takes over what `outer` emitted, whose region this builder is in.
  void inherit(const ElementBuilder &outer);

  /// Has `load` load only where `condition` holds, which is null for always.
  void setCondition(Value condition) { this->condition = condition; }

  /// The number of elements of row `row` (empty for an array) of `value`, which
  /// ascend, that are `position` (index) or less.
  Value search(Value value, ValueRange row, Value position);

  /// `elements` at several points, each with its builder, all of which are at
  /// the same place in the code.
  static SmallVector<Value> elementsAt(MutableArrayRef<ElementBuilder> builders,
                                       Value value,
                                       ArrayRef<SmallVector<Value>> points,
                                       int64_t width);

  /// Calls `emit` for each of `width` points from `indices` on and gathers the
  /// results in a vector.
  Value emitLanes(ValueRange indices, int64_t width,
                  function_ref<Value(ValueRange)> emit);

  /// The sum of the first `count` (index) elements of a vector of i32,
  /// wrapping.
  Value sum(Value value, Value count);
  /// Has `sum` computed by a team, all of which must get there.
  void setTeam(const Team &team) { this->team = team; }
  const std::optional<Team> &getTeam() const { return team; }

  /// What `op` said that row `row` shares.
  SmallVector<Value> rowValues(Operation *op, Value row);
  /// What threads computed together for `op`, at row `index` (empty for an
  /// array), or nothing: then whoever asks computes it by himself.
  ArrayRef<Value> getShared(Operation *op, ValueRange index) const;

  /// Says that the element of `value` at the point is `scalar`.
  void bind(Value value, Value scalar);

  /// Says that the elements of `value` from `indices` on are `vector`.
  void bindElements(Value value, ValueRange indices, Value vector);
  /// The `width` elements of `value` from `indices` on, where they were emitted
  /// and can be used here, or null.
  Value findElements(Value value, ValueRange indices, int64_t width) const;

  /// What `op` of a formula's body yielded from `operands`, where that was
  /// emitted and can be used here, or null. Equal operations of all formulas
  /// are one.
  Value findFormulaOp(Operation *op, ValueRange operands) const;
  void setFormulaOp(Operation *op, ValueRange operands, Value result);
  /// What an operation like the one that has just made `value`, which only
  /// computes, made before, if it can be used here.
  Value once(Value value);

  /// What a port or a size outside of the kernel is inside of it.
  Value lookup(Value value) const;
  /// The same for a size that may be a constant.
  Value size(OpFoldResult size);
  Value size(const Size &size);

  /// The number of elements in dimension `dim` of the array behind a port.
  Value dim(Value port, unsigned dim);

  /// Whether the `width` elements of a port's array at the start of row `row`
  /// are aligned for one vector access, or at the start of every row where it
  /// is null: a constant where the text says so, else a look at the address.
  /// Null if they never can be (an inner stride other than 1).
  Value isRowAligned(Value port, Value row, int64_t width);

private:
  const IRMapping &ports;
  SmallVector<Value> point;

  /// What was emitted, so that it is emitted once however many ways lead to it.
  struct Known {
    /// An operation of a formula, or a value of which elements are known.
    llvm::PointerUnion<Operation *, Value> of;
    /// Operands, or indices.
    SmallVector<Value, 2> operands;
    /// Of a vector, or 0 for an element.
    int64_t width;
    Value result;
    /// Where; null for outside of this builder's block.
    Block *block;
  };
  /// By a hash of what it is and of the operands.
  llvm::DenseMap<unsigned, SmallVector<Known, 1>> known;
  /// What is known under `hash` with these operands, if `isSame` holds and it
  /// can be used here, or null.
  Value findKnown(unsigned hash, ValueRange operands,
                  function_ref<bool(const Known &)> isSame) const;
  /// The block in which the builder was made. What was emitted there can be
  /// used wherever the builder is, other things in their own block only.
  Block *home;
  bool isVisible(const Block *block) const {
    return !block || block == home || block == b.getInsertionBlock();
  }
  Value setElements(Value value, ValueRange indices, int64_t width,
                    Value result);

  /// By expansion and row.
  llvm::DenseMap<std::pair<Value, Value>, std::pair<ExpandedRow, Block *>>
      expandedRows;

  std::optional<Team> team;
  Value condition;
  const RowValues *row;
};

} // namespace nsa

#endif // NSA_CODEGEN_ELEMENTBUILDER_H
