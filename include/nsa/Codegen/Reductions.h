//===- Reductions.h - Reductions that a block makes together ----*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_CODEGEN_REDUCTIONS_H
#define NSA_CODEGEN_REDUCTIONS_H

#include "nsa/Codegen/Elements.h"

namespace nsa {

/// Emits what the elements of `op` at `outer`, all indices but the innermost,
/// have in common, so that `builder` knows it; `ofArrays`: what of it rests on
/// arrays alone. All of `outer` must be inside.
void emitOuter(ElementBuilder &builder, MapOp op, ValueRange outer,
               bool ofArrays = false);

/// Emits what of the element of `op` at `point` rests on arrays alone, so that
/// `builder` knows it.
void emitAhead(ElementBuilder &builder, MapOp op, ValueRange point);

/// Whether `op`, which shares something by no row, can be made with the
/// reductions `others`: it is of as many elements of the same type, and rests
/// on none of them.
bool canReduceWith(ReduceOp op, ArrayRef<ReduceOp> others);

/// Emits what `ops`, which can be made together, share: one walk over their
/// elements, and one exchange.
SmallVector<Value> emitReductions(ElementBuilder &builder,
                                  ArrayRef<ReduceOp> ops, ValueRange row,
                                  Threads &threads);

/// Emits what the elements of a row become, of which each of `threads` has the
/// vector of `width` from `indices` on.
Value emitReductionOfVectors(ElementBuilder &builder, ReduceOp op,
                             ValueRange indices, int64_t width,
                             Threads &threads);

/// Emits what the elements of `row` become, all by this thread.
Value emitReduction(ElementBuilder &builder, ReduceOp op, ValueRange row);

} // namespace nsa

#endif // NSA_CODEGEN_REDUCTIONS_H
