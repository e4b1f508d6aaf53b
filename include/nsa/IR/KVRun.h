//===- KVRun.h - Numbers side by side in a cache ----------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_IR_KVRUN_H
#define NSA_IR_KVRUN_H

#include "mlir/IR/BuiltinAttributes.h"

#include "nsa/IR/NSAEnums.h.inc"

#include "llvm/ADT/Hashing.h"
#include "llvm/Support/ErrorHandling.h"

namespace nsa {

/// Bytes of a number of that type.
inline int64_t getBytes(KVType type) {
  switch (type) {
  case KVType::E4M3:
  case KVType::UE8M0:
    return 1;
  case KVType::BF16:
    return 2;
  case KVType::F32:
    return 4;
  }
  llvm_unreachable("a KVType");
}

/// `count` numbers of one type side by side, the first at byte `offset`.
struct KVRun {
  KVType type;
  int64_t count;
  int64_t offset;

  int64_t getBytes() const { return count * nsa::getBytes(type); }
  /// One past the last byte.
  int64_t getEnd() const { return offset + getBytes(); }

  bool operator==(const KVRun &other) const {
    return type == other.type && count == other.count && offset == other.offset;
  }
};

inline llvm::hash_code hash_value(const KVRun &run) {
  return llvm::hash_combine(static_cast<uint32_t>(run.type), run.count,
                            run.offset);
}

} // namespace nsa

#endif // NSA_IR_KVRUN_H
