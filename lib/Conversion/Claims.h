//===- Claims.h - Two elements that go to one place -------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CONVERSION_CLAIMS_H
#define NSA_LIB_CONVERSION_CLAIMS_H

#include "nsa/Codegen/Arith.h"
#include "nsa/IR/NSADialect.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

namespace nsa {

/// A global of i64 words, all 0 at first, that kernels with guards write to.
class GuardWords {
public:
  GuardWords() = default;
  /// That beside `kernel`, which is `launch`: made unless it is there. On the
  /// host, "STEP." stands before the name. Fails, with a diagnostic, if
  /// something else has that name; `use` says what guards do there.
  static mlir::FailureOr<GuardWords> create(mlir::FunctionOpInterface kernel,
                                            LaunchOp launch, StringRef name,
                                            int64_t words, StringRef use);

  /// The address of word `number`, a constant or an i64.
  Value emitAddress(Arith &math, mlir::LLVM::GEPArg number) const;
  Value emitLoad(Arith &math, Value address) const;
  /// Adds `value`, or 1, to word `number`; returns what was there.
  Value emitAdd(Arith &math, int32_t number, Value value = {}) const;
  /// Puts `value` at `address`, if `found` is still there; returns what was.
  Value emitSwap(Arith &math, Value address, Value found, Value value) const;

private:
  StringRef getScope() const { return isGPU ? "device" : ""; }

  StringRef symbol;
  bool isGPU = false;
};

/// Claims of places in the arrays that a kernel stores to at computed places:
/// who stores there first in a launch has the place. They stand in a global
/// beside the kernels, a table for each such array of the step.
class Claims {
public:
  /// Has `kernel`, that of `launch`, count its launches, if it has such arrays.
  /// Fails, with a diagnostic, if a kernel has the name of the global.
  static mlir::FailureOr<Claims> create(mlir::FunctionOpInterface kernel,
                                        LaunchOp launch);

  /// Whether `port` is stored to at computed places.
  bool has(BlockArgument port) const { return llvm::is_contained(ports, port); }

  enum State : int32_t {
    /// The table has no room near the place, the address is too large, or
    /// another launch of these kernels runs.
    Unknown = 0,
    First = 1,
    Taken = 2
  };
  /// Claims the element at address `element` (i64), in elements, of the array
  /// behind `port`. Returns a state (i32).
  Value emitClaim(Arith &math, BlockArgument port, Value element) const;

private:
  void emitBegin(mlir::FunctionOpInterface kernel) const;
  void emitEnd(mlir::FunctionOpInterface kernel) const;
  int64_t getNumWords() const;

  SmallVector<BlockArgument> ports;
  GuardWords words;
};

} // namespace nsa

#endif // NSA_LIB_CONVERSION_CLAIMS_H
