//===- Passes.td - Lowerings of nsa launches ---------------*- tablegen -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_CONVERSION_PASSES_TD
#define NSA_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

def LaunchToGPU : Pass<"nsa-launch-to-gpu", "mlir::ModuleOp"> {
  let summary = "Lowers launches to GPU kernels";
  let description = [{
    Each `nsa.step` becomes a `gpu.module` of its name with one kernel for each
    launch. The grid is one-dimensional: the blocks of the segments one after
    the other, so a block finds its segment from its number.

    - A `scan` segment is one block. Its threads take a row each, chunk by
      chunk, and add up with warp shuffles and one barrier a chunk, while what
      the next chunk adds up is on its way.
    - An `expand` segment of vectors has a block for each 128 rows. The block goes
      through the requests, 128 at a time, until it is past its rows, and leaves
      in shared memory how many rows come before each; a thread finds its row's
      request there by bisection. One more block, past all rows, writes what
      belongs to none: the leading 0 of sums and the number of rows.
    - An `expand` segment of tables has a block for each tile of a request's
      columns. Its threads add up the rows of the requests before it, with one
      barrier.
    - A `tile` segment has a block for each tile of a row, or for several short
      rows of a known length. A thread takes 16 bytes: one load, then a 16-byte
      store for each destination whose row is aligned, scalar ones for the
      others. Where elements become wider it takes two stores, and pairs of
      threads exchange halves first, so that a warp's stores leave no gaps.
    - Tiles of a table follow one another along its rows, or, where only live
      columns are written, across them: those without work come last.
    - A `tile` segment of `nsa.combine_indices` has a warp for each row. Its lanes
      find the row's request and add up the windows before it together, once, and
      then walk the columns, 16 bytes a lane.

    Kernels have memref arguments here; `nsa-flatten-kernel-args` gives them
    their final form.

    Those of a step with `pdl` begin with `griddepcontrol.wait` and
    `griddepcontrol.launch_dependents`, in every thread, and carry the attribute
    `nsa.dependent_launch`: what becomes PTX is checked for accesses to global
    memory before the wait.
  }];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
    "::mlir::cf::ControlFlowDialect", "::mlir::gpu::GPUDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::memref::MemRefDialect",
    "::mlir::NVVM::NVVMDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect"
  ];
}

def LaunchToLoops : Pass<"nsa-launch-to-loops", "mlir::ModuleOp"> {
  let summary = "Lowers launches to loops on the host";
  let description = [{
    Each launch of a step becomes a function `STEP.KERNEL` that does the work of
    its segments one after the other. It emits the same code for a tile's
    elements as the GPU lowering, a vector at a time.
  }];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
    "::mlir::cf::ControlFlowDialect", "::mlir::func::FuncDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::memref::MemRefDialect",
    "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"
  ];
}

def NarrowArithmetic : Pass<"nsa-narrow-arithmetic", "mlir::ModuleOp"> {
  let summary = "Kernels compute with 32 bits where ranges allow it";
  let description = [{
    A GPU computes with 32 bits, and with 64 in several instructions each. What
    is computed with indices and is a number of 32 bits for sure, as is all that
    it is made from, is computed with as many. Sizes that a step is launched with
    are less than 2^31; of dimensions of arrays nothing is known, but whether an
    index of 32 bits is less than one is asked of its first 2^31 elements alone.

    Upstream's `arith-int-range-narrowing` does this too; that of LLVM 22 takes
    no heed of signs and of shifts by more bits than there are.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

def SinkCasts : Pass<"nsa-sink-casts", "mlir::ModuleOp"> {
  let summary = "Casts of indices stand where they are used";
  let description = [{
    Moves casts of indices that only one branch uses into it: there LLVM makes
    them a part of an address, and elsewhere an instruction.
  }];
}

def FlattenKernelArgs : Pass<"nsa-flatten-kernel-args"> {
  let summary = "Gives kernels pointers, strides and sizes as arguments";
  let description = [{
    Replaces every memref argument of a kernel by a pointer and those strides
    and sizes that its type leaves open and the kernel is launched with, and
    rebuilds the memref at the kernel's start. The list is that of the manifest.

    A GPU kernel takes the parameters as arguments. A host kernel takes one
    pointer to an array whose entry i points at the 8 bytes of parameter i.
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect"
  ];
}

def DropWrapFlags : Pass<"nsa-drop-wrap-flags"> {
  let summary = "Lets strides be negative";
  let description = [{
    Upstream's lowering of memref accesses promises LLVM that offsets do not wrap
    around as unsigned numbers, which a negative stride breaks. Takes these
    promises back, in the LLVM dialect.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

def BF16ToBits : Pass<"nsa-bf16-to-bits"> {
  let summary = "Moves numbers of type bf16 as their bits";
  let description = [{
    In the LLVM dialect for a host, where no arithmetic on bf16 is left, values
    of type bf16 become i16. LLVM selects bf16 by way of f32 and back, which some
    processors do with subnormal numbers as 0.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

def AttachTarget : Pass<"nsa-attach-target", "mlir::ModuleOp"> {
  let summary = "Says which GPU to compile for";
  let description = [{
    Attaches the NVVM target for `chip` to every GPU module, or reports that
    there is no such chip. Chips from sm_80 on are known; kernels that carry
    `nsa.dependent_launch` need sm_90.
  }];
  let options = [
    Option<"chip", "chip", "std::string", /*default=*/"\"sm_80\"",
           "The GPU, \"sm_80\" for example.">,
    Option<"largeParameters", "large-parameters", "bool", /*default=*/"false",
           "Write PTX 8.1 at least, which has 32,764 bytes for parameters.">
  ];
  let dependentDialects = ["::mlir::gpu::GPUDialect",
                           "::mlir::NVVM::NVVMDialect", "::nsa::NSADialect"];
}

#endif // NSA_CONVERSION_PASSES_TD
