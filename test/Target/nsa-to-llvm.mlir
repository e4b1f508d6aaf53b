// From text to the LLVM dialect in one pipeline: a function for each launch,
// which LLVM IR can be written from.

// RUN: nsa-opt %s --nsa-to-llvm | FileCheck %s --check-prefixes=CHECK,FUSED
// RUN: nsa-opt %s --nsa-to-llvm=fuse=false | FileCheck %s --check-prefixes=CHECK,UNFUSED
// RUN: nsa-opt %s --nsa-to-llvm=guards=true | FileCheck %s --check-prefix=GUARDS
// RUN: nsa-opt %s --nsa-to-llvm | mlir-translate --mlir-to-llvmir | opt -passes=verify -S \
// RUN:   | FileCheck %s --check-prefix=LLVMIR
// RUN: nsa-opt %examples/decode_replay.mlir --nsa-to-llvm | mlir-translate --mlir-to-llvmir \
// RUN:   | FileCheck %s --check-prefix=REPLAY
// RUN: nsa-opt %S/Inputs/modes.mlir --nsa-to-llvm | mlir-translate --mlir-to-llvmir \
// RUN:   | FileCheck %s --check-prefix=MODES

// CHECK-NOT: nsa.
// CHECK-NOT: unrealized_conversion_cast
// FUSED:     llvm.func @copies.copies(%{{.*}}: !llvm.ptr) {
// UNFUSED:   llvm.func @copies.copies_x(%{{.*}}: !llvm.ptr) {
// UNFUSED:   llvm.func @copies.copies_y(%{{.*}}: !llvm.ptr) {
// CHECK-NOT: llvm.func
// CHECK-NOT: unrealized_conversion_cast

// GUARDS: llvm.mlir.global external @copies.nsa_guards(
// GUARDS-NOT: abort

// LLVMIR: define void @copies.copies(ptr %{{.*}})
// LLVMIR: load <4 x i32>
// LLVMIR: store <4 x i32>
// LLVMIR: store <4 x i32>

// REPLAY: define void @decode_replay.decode_replay(ptr
// REPLAY-NOT: define

// MODES: define void @target_verify.target_verify(ptr
// MODES: define void @draft_extend.draft_extend(ptr
// MODES: define void @page_sizes.page_sizes(ptr
nsa.step @copies(in %n : index, in %m : index, in %a[%n, %m] : tensor<?x?xi32>,
                 out %x : memref<?x?xi32>, out %y : memref<?x?xi32>) {
  nsa.copy %a to %x, %y : tensor<?x?xi32> to memref<?x?xi32>, memref<?x?xi32>
}
