//===- KernelBlock.cpp - A block of a kernel ------------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelBlock.h"

#include "Stores.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace nsa;

KernelBlock::KernelBlock(OpBuilder &b, LaunchOp launch, const IRMapping &ports,
                         gpu::GPUFuncOp kernel)
    : Arith(b, launch.getLoc()), ports(ports), kernel(kernel),
      threads{gpu::ThreadIdOp::create(b, loc, gpu::Dimension::x),
              int64_t(*launch.getThreads()), TargetAttr::of(launch).getWarp(),
              TargetAttr::of(launch).getShuffleTells(),
              TargetAttr::of(launch).getWarpReduces()},
      thread(threads.thread), mostTiles(getMostTiles(launch)) {}

//===----------------------------------------------------------------------===//
// Numbers of blocks
//===----------------------------------------------------------------------===//

Value KernelBlock::emitSize(Value size, Value value) {
  return mayBeNegative(size) ? max(value, index(0)) : value;
}

Value KernelBlock::emitNumTiles(Value size, const Size &count, int64_t tile) {
  ElementBuilder builder = at({});
  AffineMap map = AffineMap::get(0, 1, b.getAffineSymbolExpr(0).ceilDiv(tile));
  SmallVector<Value> operands{emitSize(size, builder.size(count))};
  affine::fullyComposeAffineMapAndOperands(&map, &operands);
  affine::canonicalizeMapAndOperands(&map, &operands);
  // Of a size, which is 0 or more, the quotient without a sign is shorter.
  // Every block waits for it before it knows its row.
  auto quotient = dyn_cast<AffineBinaryOpExpr>(map.getResult(0));
  if (quotient && quotient.getKind() == AffineExprKind::CeilDiv &&
      isa<AffineSymbolExpr, AffineDimExpr>(quotient.getLHS()) &&
      operands.size() == 1)
    if (auto divisor = dyn_cast<AffineConstantExpr>(quotient.getRHS())) {
      Value count = operands.front(), tile = index(divisor.getValue());
      // A size of the step is less than 2^31: nothing wraps, and no 0 is told
      // apart.
      if (isa<BlockArgument>(count))
        return toI32(
            divUnsigned(add(count, index(divisor.getValue() - 1)), tile));
      return toI32(ceilDivUnsigned(count, tile));
    }
  return toI32(affine::AffineApplyOp::create(b, loc, map, operands));
}

Value KernelBlock::emitTilesPerRow(SegmentOp segment) {
  Grid grid = segment.getGrid();
  return emitNumTiles(segment.getSizes().back(), grid.columns,
                      grid.tileColumns);
}

Value KernelBlock::emitRowTiles(SegmentOp segment) {
  Grid grid = segment.getGrid();
  return emitNumTiles(segment.getSizes().front(), grid.rows, grid.tileRows);
}

Value KernelBlock::emitNumBlocks(SegmentOp segment) {
  ElementBuilder builder = at({});
  Value blocks = emitNumBlocksIfWanted(segment);
  Value isWanted = emitIsWanted(builder, segment);
  return isWanted ? select(isWanted, blocks, i32(0)) : blocks;
}

Value KernelBlock::emitNumBlocksIfWanted(SegmentOp segment) {
  Grid grid = segment.getGrid();
  auto isOne = [](const Size &size) { return size.getConstant() == 1; };
  if (isOne(grid.rows) && isOne(grid.columns))
    return i32(1);
  if (isOne(grid.rows))
    return emitTilesPerRow(segment);
  if (isOne(grid.columns))
    return emitRowTiles(segment);
  Value rows = emitRowTiles(segment);
  return mul(rows, emitTilesPerRow(segment));
}

//===----------------------------------------------------------------------===//
// Places in a tile
//===----------------------------------------------------------------------===//

std::pair<Value, Value> KernelBlock::emitRowAndTile(SegmentOp segment,
                                                    Value block) {
  if (segment.getSizes().size() != 2)
    return {Value(), block};
  // One after the other along a row, as memory has them; but where rows end
  // early, across them, so that blocks without work come last.
  bool isAcross = segment.getTiling()->getAcross();
  Value perLine = isAcross ? emitRowTiles(segment) : emitTilesPerRow(segment);
  Value line = divUnsigned(block, perLine);
  Value inLine = sub(block, mul(line, perLine));
  // Without a sign, whose products with strides have a part more.
  return {toIndexUnsigned(isAcross ? inLine : line), isAcross ? line : inLine};
}

std::pair<Value, Value> KernelBlock::emitRowAndColumn(SegmentOp segment,
                                                      Value block) {
  TilingAttr tiling = *segment.getTiling();
  auto [row, tile] = emitRowAndTile(segment, block);
  Value inRow = thread;
  if (tiling.getPacked()) {
    Value lanes = index(threads.size / tiling.getRows());
    row = add(mul(row, index(tiling.getRows())), divUnsigned(thread, lanes));
    inRow = remUnsigned(thread, lanes);
  }
  Value inTile = mul(inRow, index(tiling.getWidth()));
  Value first = mul(toIndex(tile), index(tiling.getColumns()));
  return {row, add(first, inTile)};
}

SmallVector<SmallVector<Value>> KernelBlock::emitPoints(SegmentOp segment,
                                                        ArrayRef<Value> row,
                                                        Value column,
                                                        int64_t numThreads) {
  TilingAttr tiling = *segment.getTiling();
  int64_t step = numThreads * tiling.getWidth();
  SmallVector<SmallVector<Value>> points;
  for (int64_t i = 0; i < tiling.getVectors(); ++i) {
    SmallVector<Value> &point = points.emplace_back(row);
    point.push_back(add(column, index(i * step)));
  }
  return points;
}

void nsa::emitInstruction(Arith &math, StringRef instruction,
                          ValueRange operands, StringRef constraints) {
  LLVM::InlineAsmOp::create(
      math.b, math.loc, /*resultTypes=*/TypeRange(), operands, instruction,
      constraints, /*has_side_effects=*/true, /*is_align_stack=*/false,
      LLVM::tailcallkind::TailCallKind::None,
      /*asm_dialect=*/LLVM::AsmDialectAttr(), /*operand_attrs=*/ArrayAttr());
}
