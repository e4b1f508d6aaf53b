//===- E4M3.h - From e4m3 and scales to bf16 --------------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CODEGEN_E4M3_H
#define NSA_LIB_CODEGEN_E4M3_H

#include "nsa/Codegen/Arith.h"
#include "nsa/IR/NSADialect.h"

namespace nsa {

/// e4m3 numbers times `scale` (one of f32 as vector<1xi32>, or of ue8m0 as
/// vector<1xi8>), rounded once to bf16, in storage. `bytes` is a vector of i8,
/// or of i32 words of four numbers each.
Value emitScaledE4M3(Arith &math, Value bytes, Value scale, KVType scaleType);

/// The storage of `width` bf16: words of i32, or of i16 if their number is odd.
VectorType getBF16StorageType(Arith &math, int64_t width);

/// A vector of f32, which is rounded, of bf16 or of its bytes as the storage of
/// bf16.
Value toBF16Storage(Arith &math, Value value);

} // namespace nsa

#endif // NSA_LIB_CODEGEN_E4M3_H
