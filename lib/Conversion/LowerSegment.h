//===- LowerSegment.h - The work of a segment, for any target ---*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CONVERSION_LOWERSEGMENT_H
#define NSA_LIB_CONVERSION_LOWERSEGMENT_H

#include "nsa/Codegen/Elements.h"
#include "nsa/Codegen/KernelParameters.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

namespace nsa {

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

/// A function argument attribute on kernels: the sizes that the kernel is
/// launched with, as a list of dimensions (DenseI64ArrayAttr).
inline constexpr llvm::StringLiteral sizesAttrName = "nsa.sizes";
/// A function argument attribute on kernels: the array is only read.
inline constexpr llvm::StringLiteral readOnlyAttrName = "nsa.readonly";
/// On a kernel: the numbers of the ports whose presence its last arguments say,
/// 64 in a word.
inline constexpr llvm::StringLiteral presenceAttrName = "nsa.presence";

/// An attribute on kernels whose arguments are those of a launch: memrefs and
/// sizes.
inline constexpr llvm::StringLiteral kernelAttrName = "nsa.kernel";

/// Checks that all copies of `step` are in launches.
llvm::LogicalResult verifyFormed(StepOp step);

/// The argument types of the kernel of a launch that uses `ports`.
llvm::SmallVector<mlir::Type>
getKernelArgumentTypes(llvm::ArrayRef<mlir::BlockArgument> ports);

/// Names and describes the arguments of `kernel`, maps `ports` to them, and
/// re-computes at the insertion point the sizes that the launch takes from
/// outside.
void mapPorts(mlir::OpBuilder &b, LaunchOp launch,
              llvm::ArrayRef<mlir::BlockArgument> ports,
              mlir::FunctionOpInterface kernel, mlir::IRMapping &mapping);

/// Whether a size may be negative: one that the text computes. (Launchers check
/// ports, and arrays have no such sizes.)
bool mayBeNegative(mlir::Value size);
/// Emits `body` where `size` is 0 or more.
void emitIfNotNegative(ElementBuilder &builder, mlir::Value size,
                       llvm::function_ref<void()> body);

/// Emits `body` where `copy` writes element `index`: from its `from` on.
void emitIfCopied(ElementBuilder &builder, CopyOp copy, mlir::Value index,
                  llvm::function_ref<void()> body);

/// Emits `body` for each destination of `copy` whose array is there.
void emitForDestinations(ElementBuilder &builder, CopyOp copy,
                         llvm::function_ref<void(mlir::Value)> body);

/// Whether any array is there that `segment` writes (i1), or null for yes.
mlir::Value emitIsWanted(ElementBuilder &builder, SegmentOp segment);

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

/// The rows that one request of an expansion takes.
struct RowRange {
  mlir::Value first, count;
  /// Whether these are rows past the last request, which are zeros (i1). Null
  /// for no.
  mlir::Value isPadding = {};

  /// Emits `body` for each of them.
  void emitLoop(ElementBuilder &builder,
                llvm::function_ref<void(mlir::Value)> body) const;
};

/// Two threads whose vectors are neighbours in a row.
struct ThreadPair {
  /// Whether this thread has the second vector (i1).
  mlir::Value isSecond;
  /// Emits what an i32 is in the other thread. Both have to get there.
  std::function<mlir::Value(mlir::OpBuilder &, mlir::Value)> emitOther;
};

/// Emits the `width` columns at each of `points` (row, column; or only the
/// column of a one-dimensional segment): loads for all points first, then the
/// stores, each guarded by the segment's number of columns. Columns of points
/// are multiples of `width`. In an `expand` segment the row of a point is a
/// request, and `rows` are those it is stored to. `values` is what the row of
/// the points shares, if it is walked. If there is a `pair`, both threads take
/// turns: each stores the first or the second halves of the two vectors.
/// `known` has emitted before what some of the elements may rest on.
void emitTile(mlir::OpBuilder &b, SegmentOp segment,
              const mlir::IRMapping &ports,
              llvm::ArrayRef<llvm::SmallVector<mlir::Value>> points,
              int64_t width, std::optional<RowRange> rows = {},
              const RowValues *values = nullptr,
              const ThreadPair *pair = nullptr,
              const ElementBuilder *known = nullptr);

/// Emits what row `row` of a segment that is walked shares, beside what all its
/// rows do.
RowValues emitRowValues(mlir::OpBuilder &b, SegmentOp segment,
                        const mlir::IRMapping &ports, mlir::Value row,
                        std::optional<Team> team = {},
                        RowValues values = RowValues());

} // namespace nsa

#endif // NSA_LIB_CONVERSION_LOWERSEGMENT_H
