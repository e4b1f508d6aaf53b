//===- GuardedOps.h - What records of guards speak of -----------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A kernel with guards records a wrong access as numbers; the manifest has what
// they stand for. docs/Bundle.md has the layout.
//
//===----------------------------------------------------------------------===//

#ifndef NSA_CODEGEN_GUARDEDOPS_H
#define NSA_CODEGEN_GUARDEDOPS_H

#include "nsa/IR/NSADialect.h"

#include "llvm/ADT/DenseMap.h"

#include <string>

namespace nsa {

/// The global that guards record in, in a GPU's module; of the host's it has
/// "STEP." before it.
inline constexpr StringLiteral guardBufferName = "nsa_guards";
/// Words (i64) of that: how many wrong accesses there were, in a record's
/// place, and then so many records of them. Behind that number stands how many
/// stores to computed places were compared with no other.
inline constexpr int64_t guardRecordWords = 4, guardNumRecords = 64,
                         guardUnclaimedWord = 1;
/// The global that says which element went to which place, named like that.
inline constexpr StringLiteral guardClaimsName = "nsa_claims";

/// The location of `op`, under the name of the operation.
Location getNamedLoc(Operation *op);

/// The operations of a step whose launches are formed, by the numbers that
/// records have for them.
class GuardedOps {
public:
  explicit GuardedOps(StepOp step);

  /// The number of the operation that emits at `loc`, which is one that
  /// `getNamedLoc` made, or that of an operation.
  int64_t getNumber(Location loc) const;

  struct Entry {
    StringRef op;
    Location loc;

    /// "FILE:LINE:COLUMN", empty if the text is unknown.
    std::string getPlace() const;
  };
  ArrayRef<Entry> getEntries() const { return entries; }

private:
  SmallVector<Entry> entries;
  /// By named locations, and by those without a name.
  llvm::DenseMap<mlir::Attribute, int64_t> numbers;
};

} // namespace nsa

#endif // NSA_CODEGEN_GUARDEDOPS_H
