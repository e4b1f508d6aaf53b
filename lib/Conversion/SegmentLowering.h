//===- SegmentLowering.h - How each kind of segment is lowered --*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CONVERSION_SEGMENTLOWERING_H
#define NSA_LIB_CONVERSION_SEGMENTLOWERING_H

#include "KernelBlock.h"

namespace nsa {

/// What the code of a function on the host knows.
struct HostFunction {
  mlir::OpBuilder &b;
  const mlir::IRMapping &ports;
  HostThread &thread;
};

/// How a kind of segment is lowered. Each kind has a file.
struct SegmentLowering {
  /// Emits what block `number` (i32) of the segment's does.
  void (*emitBlock)(KernelBlock &block, SegmentOp segment, mlir::Value number);
  /// Emits loops that do all of it.
  void (*emitLoops)(HostFunction &function, SegmentOp segment);
};

extern const SegmentLowering scanLowering, expandLowering, tileLowering;

inline const SegmentLowering &getLowering(SegmentKind kind) {
  switch (kind) {
  case SegmentKind::Scan:
    return scanLowering;
  case SegmentKind::Expand:
    return expandLowering;
  case SegmentKind::Tile:
    return tileLowering;
  }
  llvm_unreachable("a SegmentKind");
}

} // namespace nsa

#endif // NSA_LIB_CONVERSION_SEGMENTLOWERING_H
