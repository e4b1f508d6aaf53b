//===- Claims.h - Two elements that go to one place -------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CONVERSION_CLAIMS_H
#define NSA_LIB_CONVERSION_CLAIMS_H

#include "nsa/IR/NSADialect.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

namespace nsa {

/// The global `name` of i64 words, all 0, in `module`, which has the kernels of
/// `step`: made unless it is there. On the host, "STEP." stands before the
/// name. Null if something else has that name.
mlir::LLVM::GlobalOp getGuardGlobal(mlir::Operation *module, StepOp step,
                                    llvm::StringRef name, int64_t words,
                                    bool isGPU);

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
  bool has(mlir::BlockArgument port) const {
    return llvm::is_contained(ports, port);
  }

  enum State : int32_t {
    /// The table has no room near the place, the address is too large, or
    /// another
    /// launch of these kernels runs.
    Unknown = 0,
    First = 1,
    Taken = 2
  };
  /// Claims the element at address `element` (i64), in elements, of the array
  /// behind `port`. Returns a state (i32).
  mlir::Value emitClaim(mlir::OpBuilder &b, mlir::Location loc,
                        mlir::BlockArgument port, mlir::Value element) const;

private:
  Claims(StepOp step, bool isGPU);
  void emitBegin(mlir::FunctionOpInterface kernel) const;
  void emitEnd(mlir::FunctionOpInterface kernel) const;
  /// The address of the global's word `number` (i64).
  mlir::Value emitAddress(mlir::OpBuilder &b, mlir::Location loc,
                          mlir::Value number) const;
  mlir::Value emitLoad(mlir::OpBuilder &b, mlir::Location loc,
                       mlir::Value address) const;
  /// Adds `value` to word `number`; returns what was there.
  mlir::Value emitAdd(mlir::OpBuilder &b, mlir::Location loc, int64_t number,
                      mlir::Value value) const;
  int64_t getNumWords() const;
  llvm::StringRef getScope() const { return isGPU ? "device" : ""; }

  llvm::SmallVector<mlir::BlockArgument> ports;
  mlir::LLVM::GlobalOp global;
  bool isGPU;
};

} // namespace nsa

#endif // NSA_LIB_CONVERSION_CLAIMS_H
