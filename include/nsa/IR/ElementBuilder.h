//===- ElementBuilder.h - Emits elements of nsa values ----------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_IR_ELEMENTBUILDER_H
#define NSA_IR_ELEMENTBUILDER_H

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/DenseMap.h"

namespace nsa {

/// What the elements of one row share, by the operation that they come from:
/// see `ElementOpInterface::emitRow`.
using RowValues =
    llvm::DenseMap<mlir::Operation *, llvm::SmallVector<mlir::Value>>;

/// Threads that are at the same point and can add up together.
struct Team {
  /// The number of this thread among them (index), and of all.
  mlir::Value thread;
  int64_t size;
  /// Emits the sum of an i32 of each, for all.
  std::function<mlir::Value(mlir::OpBuilder &, mlir::Value)> emitSum;
};

/// Emits the code that computes elements of nsa values at one point of an index
/// space, starting from the arrays behind the ports.
///
/// Emission pulls: `element(v, indices)` asks the operation that defines `v`
/// for that element, which asks for elements of its operands, down to loads
/// from `in` ports. The insertion point moves through `b` and must stay in the
/// region in which the builder was made (values found once are reused).
class ElementBuilder {
public:
  /// `ports` maps the step's ports to memrefs and sizes. `point` is the point
  /// that is emitted for; elements at it, and at its row, are computed once.
  ElementBuilder(mlir::OpBuilder &b, mlir::Location loc,
                 const mlir::IRMapping &ports, mlir::ValueRange point)
      : b(b), loc(loc), ports(ports), point(point) {}

  /// For a region inside of the one that `outer` emits to: knows what it does.
  ElementBuilder(mlir::OpBuilder &b, const ElementBuilder &outer)
      : b(b), loc(outer.loc), ports(outer.ports), point(outer.point),
        known(outer.known), team(outer.team), condition(outer.condition),
        row(outer.row) {}

  /// The element of `value` at `indices`.
  mlir::Value element(mlir::Value value, mlir::ValueRange indices);

  /// `width` elements of `value` from `indices` on, in the innermost dimension,
  /// as a vector. Those past the end are unspecified.
  mlir::Value elements(mlir::Value value, mlir::ValueRange indices,
                       int64_t width);

  /// Loads `width` elements of the array behind `port` from `indices` on: as
  /// one vector if they are inside the array and aligned, else one by one, with
  /// 0 for those past the end. All are 0 unless `isValid`, which is null for
  /// true and must hold only if the outer index is inside the array.
  mlir::Value load(mlir::Value port, mlir::ValueRange indices, int64_t width,
                   mlir::Value isValid = {});

  /// Has `load` load only where `condition` holds, which is null for always.
  void setCondition(mlir::Value condition) { this->condition = condition; }

  /// `elements` at several points, each with its builder, all of which are at
  /// the same place in the code.
  static llvm::SmallVector<mlir::Value>
  elementsAt(llvm::MutableArrayRef<ElementBuilder> builders, mlir::Value value,
             llvm::ArrayRef<llvm::SmallVector<mlir::Value>> points,
             int64_t width);

  /// Calls `emit` for each of `width` points from `indices` on and gathers the
  /// results in a vector.
  mlir::Value emitLanes(mlir::ValueRange indices, int64_t width,
                        llvm::function_ref<mlir::Value(mlir::ValueRange)> emit);

  /// The sum of the first `count` (index) elements of a vector of i32,
  /// wrapping.
  mlir::Value sum(mlir::Value value, mlir::Value count);
  /// Has `sum` computed by a team, all of which must get there.
  void setTeam(const Team &team) { this->team = team; }
  const std::optional<Team> &getTeam() const { return team; }

  /// What `op` said that row `row` shares.
  llvm::SmallVector<mlir::Value> rowValues(mlir::Operation *op,
                                           mlir::Value row);
  /// Takes the values of a row from `values`.
  void setRow(const RowValues *values) { row = values; }

  /// Says that the element of `value` at the point is `scalar`.
  void bind(mlir::Value value, mlir::Value scalar) { known[value] = scalar; }

  /// What a port or a size outside of the kernel is inside of it.
  mlir::Value lookup(mlir::Value value) const;
  /// The same for a size that may be a constant.
  mlir::Value size(mlir::OpFoldResult size);

  /// The number of elements in dimension `dim` of the array behind a port.
  mlir::Value dim(mlir::Value port, unsigned dim);

  /// Whether the `width` elements of a port's array at the start of row `row`
  /// are aligned for one vector access, or at the start of every row where it
  /// is null: a constant where the text says so, else a look at the address.
  /// Null if they never can be (an inner stride other than 1).
  mlir::Value isRowAligned(mlir::Value port, mlir::Value row, int64_t width);

  mlir::Value constantIndex(int64_t value);

  mlir::OpBuilder &b;
  mlir::Location loc;

private:
  const mlir::IRMapping &ports;
  llvm::SmallVector<mlir::Value> point;
  llvm::DenseMap<mlir::Value, mlir::Value> known;
  std::optional<Team> team;
  mlir::Value condition;
  const RowValues *row = nullptr;
};

} // namespace nsa

#endif // NSA_IR_ELEMENTBUILDER_H
