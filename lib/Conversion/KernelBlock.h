//===- KernelBlock.h - A block of a kernel ----------------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CONVERSION_KERNELBLOCK_H
#define NSA_LIB_CONVERSION_KERNELBLOCK_H

#include "SharedValues.h"

#include "nsa/Codegen/Elements.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace nsa {

/// What the code of a kernel knows of the block that runs it, and this thread
/// of that.
class KernelBlock : public Arith {
public:
  KernelBlock(OpBuilder &b, LaunchOp launch, const IRMapping &ports,
              mlir::gpu::GPUFuncOp kernel);

  /// Emits elements at `point`, of whose row `row` is known.
  ElementBuilder at(ValueRange point, const RowValues *row = nullptr) const {
    return ElementBuilder(b, loc, ports, point, row);
  }
  /// What a size of a segment is in the kernel.
  Value lookup(Value size) const { return ports.lookupOrDefault(size); }
  /// The threads of the block, who share the memory of the segment.
  BlockThreads getThreads() {
    return BlockThreads(kernel, threads, mostTiles, sharedMemory);
  }

  /// The number of blocks of a segment, as i32, which is 0 where nothing is
  /// there that it writes. (The launcher sees to it that it fits.)
  Value emitNumBlocks(SegmentOp segment);
  /// The row (of packed ones: the number of the rows that share a tile) and the
  /// number of the tile (i32) in it of block `block` (i32), for tiles of one
  /// row, or packed ones. An array has no row.
  std::pair<Value, Value> emitRowAndTile(SegmentOp segment, Value block);
  /// The row and the first column of this thread in it.
  std::pair<Value, Value> emitRowAndColumn(SegmentOp segment, Value block);
  /// The points in a tile of one row, from `column` on, of a thread that shares
  /// it with `numThreads`.
  SmallVector<SmallVector<Value>> emitPoints(SegmentOp segment,
                                             ArrayRef<Value> row, Value column,
                                             int64_t numThreads);

  const IRMapping &ports;
  mlir::gpu::GPUFuncOp kernel;
  ThreadBlock threads;
  /// This thread's number (index).
  Value thread;

private:
  /// `value`, which is made from size `size` of a segment, or 0 where it may be
  /// negative: launchers count no blocks for it then.
  Value emitSize(Value size, Value value);
  /// The number of tiles that `count` elements take, as i32. `size` is that of
  /// the segment that `count` is made from.
  Value emitNumTiles(Value size, const Size &count, int64_t tile);
  /// The number of tiles in a row of a segment, as i32.
  Value emitTilesPerRow(SegmentOp segment);
  /// The number of tiles from a segment's first row to its last, as i32.
  Value emitRowTiles(SegmentOp segment);
  Value emitNumBlocksIfWanted(SegmentOp segment);

  int64_t mostTiles;
  /// Workgroup memory of what elements of a segment share.
  SmallVector<Value> sharedMemory;
};

/// Emits an instruction that stays where it is.
void emitInstruction(Arith &math, StringRef instruction, ValueRange operands,
                     StringRef constraints);

} // namespace nsa

#endif // NSA_LIB_CONVERSION_KERNELBLOCK_H
