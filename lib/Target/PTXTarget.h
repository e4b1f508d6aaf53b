//===- PTXTarget.h - What makes PTX of kernels, and checks it ---*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_TARGET_PTXTARGET_H
#define NSA_LIB_TARGET_PTXTARGET_H

#include "nsa/IR/LLVM.h"

#include "mlir/IR/DialectRegistry.h"

namespace nsa {

/// Makes `gpu-module-to-binary` translate to PTX for `#nvvm.target`, and look
/// for nothing. MLIR's own translation looks for a CUDA toolkit, whose library
/// of functions no kernel here calls, and reports an error where CUDA_HOME
/// names a folder that has none.
void registerPTXTarget(mlir::DialectRegistry &registry);

/// Checks that the kernel `name` of a PTX text waits for the kernel before it
/// (`griddepcontrol.wait`) before it accesses global memory, calls a function,
/// jumps or ends, and that it loads nothing through the read-only path: what
/// the kernel before it writes changes while this one is there.
/// Returns what is wrong, with the line, or nothing.
///
/// The compiler that writes the PTX knows nothing of the wait, so this is
/// looked at where it is done.
std::optional<std::string> findAccessBeforeWait(StringRef ptx, StringRef name);

/// Lets `max` and `min` of 16 bits in a PTX text compute with 32. From sm_90 on
/// there is an instruction for those of 16, which also says whether the result
/// is the first operand. ptxas of CUDA 12.8 to 13.3 takes that for an answer to
/// `setp.eq` of the result and a constant that is the second. LLVM has no
/// switch for it, and makes such instructions of comparisons, too, when all of
/// its passes are over.
std::string widenShortBounds(StringRef ptx);

/// Lets a kernel of a PTX text that names an array in shared memory more than
/// once hold its address in a register. From sm_90 on ptxas makes the address
/// from the number of the block in its cluster, wherever it is named: also
/// behind a barrier, where all of a block wait for it.
std::string holdSharedBases(StringRef ptx);

} // namespace nsa

#endif // NSA_LIB_TARGET_PTXTARGET_H
