//===- Kernel.h - What a launch becomes, for any target ---------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CONVERSION_KERNEL_H
#define NSA_LIB_CONVERSION_KERNEL_H

#include "nsa/Codegen/Arith.h"
#include "nsa/IR/NSADialect.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

namespace nsa {

/// A function argument attribute on kernels: the sizes that the kernel is
/// launched with, as a list of dimensions (DenseI64ArrayAttr).
inline constexpr StringLiteral sizesAttrName = "nsa.sizes";
/// A function argument attribute on kernels: the array is only read.
inline constexpr StringLiteral readOnlyAttrName = "nsa.readonly";
/// On a kernel: the numbers of the ports whose presence its last arguments say,
/// 64 in a word.
inline constexpr StringLiteral presenceAttrName = "nsa.presence";

/// An attribute on kernels whose arguments are those of a launch: memrefs and
/// sizes.
inline constexpr StringLiteral kernelAttrName = "nsa.kernel";

/// Checks that all copies of `step` are in launches.
LogicalResult verifyFormed(StepOp step);

/// The argument types of the kernel of a launch that uses `ports`.
SmallVector<Type> getKernelArgumentTypes(ArrayRef<BlockArgument> ports);

/// Names and describes the arguments of `kernel`, maps `ports` to them, and
/// re-computes at the insertion point the sizes that the launch takes from
/// outside.
void mapPorts(OpBuilder &b, LaunchOp launch, ArrayRef<BlockArgument> ports,
              mlir::FunctionOpInterface kernel, IRMapping &mapping);

/// The number (index) of the block of a GPU, less than 2^31: launchers refuse
/// more blocks.
Value emitBlockNumber(Arith &math);

} // namespace nsa

#endif // NSA_LIB_CONVERSION_KERNEL_H
