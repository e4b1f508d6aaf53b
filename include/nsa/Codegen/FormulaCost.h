//===- FormulaCost.h - What a formula's reads cost --------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_CODEGEN_FORMULACOST_H
#define NSA_CODEGEN_FORMULACOST_H

#include "nsa/IR/NSADialect.h"

namespace nsa {

/// Why a read is made once for each element of a vector, and not once for all
/// of them; empty if it is one access wherever memory allows.
StringRef getScalarReason(ReadOp read);

/// Whether a read has the formula's own indices, all of them inside.
bool isAtPoint(ReadOp read);

/// Whether a read of an array has an index that follows from another read of an
/// element of the row: it waits for that, and finds its elements anywhere.
bool isIndirect(ReadOp read);

/// Whether `value`, of the formula that `index` is an argument of, depends on
/// it.
bool dependsOn(Value value, Value index);

/// Whether `op`, of the body of `formula`, is the same for all elements of a
/// row: it does not depend on the innermost index.
bool isOfRow(FormulaOpInterface formula, Operation *op);

} // namespace nsa

#endif // NSA_CODEGEN_FORMULACOST_H
