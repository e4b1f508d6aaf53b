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
  OpBuilder &b;
  const IRMapping &ports;
  HostThread &thread;
};

/// How a kind of segment is lowered.
struct SegmentLowering {
  /// Emits what block `number` (i32) of the segment's does.
  void (*emitBlock)(KernelBlock &block, SegmentOp segment, Value number);
  /// Emits loops that do all of it.
  void (*emitLoops)(HostFunction &function, SegmentOp segment);
};

/// That of kind `kind`, which has a file that defines this; a linker tells what
/// is missing.
template <SegmentKind kind> SegmentLowering getLoweringOf();

template <uint32_t... numbers>
SegmentLowering getLowering(SegmentKind kind,
                            std::integer_sequence<uint32_t, numbers...>) {
  SegmentLowering all[] = {getLoweringOf<SegmentKind(numbers)>()...};
  return all[static_cast<uint32_t>(kind)];
}

inline SegmentLowering getLowering(SegmentKind kind) {
  constexpr uint32_t count = getMaxEnumValForSegmentKind() + 1;
  return getLowering(kind, std::make_integer_sequence<uint32_t, count>());
}

} // namespace nsa

#endif // NSA_LIB_CONVERSION_SEGMENTLOWERING_H
