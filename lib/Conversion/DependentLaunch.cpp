//===- DependentLaunch.cpp - Kernels that begin early ---------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DependentLaunch.h"

#include "nsa/Conversion/Passes.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace nsa;

void nsa::emitDependentStart(OpBuilder &b, gpu::GPUFuncOp kernel) {
  kernel->setAttr(dependentLaunchAttrName, b.getUnitAttr());
  // Not `nvvm.griddepcontrol`: LLVM takes that for an instruction which touches
  // no memory, and moves loads above it. The grid after this one may begin at
  // once, as it waits for the end of this one, too.
  for (StringRef instruction :
       {"griddepcontrol.wait;", "griddepcontrol.launch_dependents;"})
    LLVM::InlineAsmOp::create(
        b, kernel.getLoc(), /*resultTypes=*/TypeRange(),
        /*operands=*/ValueRange(), instruction, /*constraints=*/"~{memory}",
        /*has_side_effects=*/true,
        /*is_align_stack=*/false, LLVM::tailcallkind::TailCallKind::None,
        /*asm_dialect=*/LLVM::AsmDialectAttr(), /*operand_attrs=*/ArrayAttr());
}
