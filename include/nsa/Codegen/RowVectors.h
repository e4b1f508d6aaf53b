//===- RowVectors.h - Sums of rows that stay with threads -------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_CODEGEN_ROWVECTORS_H
#define NSA_CODEGEN_ROWVECTORS_H

#include "nsa/Codegen/Elements.h"

namespace nsa {

/// Whether a thread that has a vector of a row of `segment`, a table that
/// shares something by row, needs of the sums along it none but those at its
/// own elements, and the row's total: where each thread has one vector, they
/// are no array then, and what they are made from is made once.
bool takesRowVectors(SegmentOp segment);

/// Whether some of that are sums with an element for each of a row.
bool hasRowSums(SegmentOp segment);

/// Emits what the elements of a row of such a segment share, where each of
/// `threads` has the vector of `width` elements from `indices` on, all of them
/// at once the row: for `builder` to know, or, of a reduction, in `values`,
/// which `builder` has to have.
void emitRowVectors(ElementBuilder &builder, SegmentOp segment,
                    ValueRange indices, int64_t width, Threads &threads,
                    RowValues &values);

} // namespace nsa

#endif // NSA_CODEGEN_ROWVECTORS_H
