//===- ScanSegment.h - The copies of a scan segment -------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CONVERSION_SCANSEGMENT_H
#define NSA_LIB_CONVERSION_SCANSEGMENT_H

#include "nsa/Codegen/Elements.h"

#include "mlir/IR/IRMapping.h"

namespace nsa {

/// The parts of a `scan` segment that its lowerings order in time.
class ScanSegment {
public:
  ScanSegment(SegmentOp segment, const mlir::IRMapping &ports);

  size_t getNumScans() { return scans.size(); }
  /// The values that the scans add up, at `row`.
  llvm::SmallVector<mlir::Value> emitSources(ElementBuilder &builder,
                                             mlir::Value row);
  /// Stores all values at `row`, given what each scan adds up there and its sum
  /// of the rows before it.
  void emitStores(ElementBuilder &builder, mlir::Value row,
                  mlir::ValueRange sources, mlir::ValueRange sums);
  /// Stores the values that go on past the last row there, given the sums.
  void emitLastStores(ElementBuilder &builder, mlir::Value row,
                      mlir::ValueRange sums);

private:
  void emitCopies(ElementBuilder &builder, llvm::ArrayRef<CopyOp> copies,
                  mlir::Value row);

  const mlir::IRMapping &ports;
  mlir::Value size;
  llvm::SmallVector<SumOpInterface> scans;
  llvm::SmallVector<CopyOp> copies, lastCopies;
};

} // namespace nsa

#endif // NSA_LIB_CONVERSION_SCANSEGMENT_H
