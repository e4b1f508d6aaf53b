//===- Elements.h - The code of elements ------------------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_CODEGEN_ELEMENTS_H
#define NSA_CODEGEN_ELEMENTS_H

#include "nsa/Codegen/ElementBuilder.h"
#include "nsa/Codegen/Threads.h"
#include "nsa/IR/NSADialect.h"

#include "nsa/Codegen/ElementInterface.h.inc"

namespace nsa {

/// Has every value operation know the code of its elements.
void registerElements(mlir::DialectRegistry &registry);

/// Emits the rows that `request` takes of `expansion`, between 0 and the bound
/// (index).
Value emitCount(ExpansionOp expansion, ElementBuilder &builder, Value request);
/// Finds the request of row `row`, of `requests` (all of index).
ExpandedRow emitExpandedRow(ExpansionOp expansion, ElementBuilder &builder,
                            Value requests, Value row);

/// Emits the number of elements of `source`, in row `row` (empty for an array)
/// from `begin` to `end` (index), that are `position` (index) or less, and of
/// those below `begin`, which all are. Elements ascend, sizes are less than
/// 2^31.
///
/// A round looks at `numProbes` places at once and leaves one part in
/// `numProbes + 1`. How many rounds there are rests on the number of elements
/// alone, so threads stay together.
Value emitBinarySearch(ElementBuilder &builder, Value source, ValueRange row,
                       Value begin, Value end, Value position,
                       int64_t numProbes = 1);

} // namespace nsa

#endif // NSA_CODEGEN_ELEMENTS_H
