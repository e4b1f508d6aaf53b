//===- PredictedSteps.h - A recurrence by a block at once -------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_CODEGEN_PREDICTEDSTEPS_H
#define NSA_LIB_CODEGEN_PREDICTEDSTEPS_H

#include "nsa/Codegen/ElementBuilder.h"
#include "nsa/Codegen/Threads.h"

namespace nsa {

/// Emits elements 1 to `size` of a recurrence from element 0, which is `first`,
/// for all threads. `emitStep` emits element `step + 1` from element
/// `step`, for any value of the latter; `isNumbered` is whether it looks at the
/// number, too. `visit` gets the number of an element and the element, in the
/// thread that has it.
void emitPredictedSteps(
    ElementBuilder &builder, Threads &threads, mlir::Value size,
    mlir::Value first, bool isNumbered,
    llvm::function_ref<mlir::Value(ElementBuilder &, mlir::Value, mlir::Value)>
        emitStep,
    llvm::function_ref<void(mlir::Value, mlir::Value)> visit);

} // namespace nsa

#endif // NSA_LIB_CODEGEN_PREDICTEDSTEPS_H
