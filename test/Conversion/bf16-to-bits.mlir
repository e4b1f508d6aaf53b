// Numbers of type bf16 that are only moved are their bits.

// RUN: nsa-opt %s --nsa-bf16-to-bits --split-input-file --verify-diagnostics | FileCheck %s

// CHECK-LABEL: llvm.func @pick
// CHECK: %[[A:.*]] = llvm.load %{{.*}} -> i16
// CHECK: %[[ONE:.*]] = llvm.mlir.constant(16256 : i16) : i16
// CHECK: llvm.select %{{.*}}, %[[A]], %[[ONE]] : i1, i16
// CHECK: llvm.br ^[[NEXT:.*]](%{{.*}} : i16)
// CHECK: ^[[NEXT]](%[[PICKED:.*]]: i16):
// CHECK-NEXT: llvm.store %[[PICKED]], %{{.*}} : i16
llvm.func @pick(%one : !llvm.ptr, %other : !llvm.ptr, %is_one : i1) {
  %a = llvm.load %one : !llvm.ptr -> bf16
  %b = llvm.mlir.constant(1.0 : bf16) : bf16
  %c = llvm.select %is_one, %a, %b : i1, bf16
  llvm.br ^next(%c : bf16)
^next(%picked : bf16):
  %bits = llvm.bitcast %picked : bf16 to i16
  llvm.store %bits, %other : i16, !llvm.ptr
  llvm.return
}

// CHECK-LABEL: llvm.func @vectors
// CHECK: %[[ONES:.*]] = llvm.mlir.constant(dense<16256> : vector<2xi16>) : vector<2xi16>
// CHECK: %[[X:.*]] = llvm.load %{{.*}} -> i16
// CHECK: llvm.insertelement %[[X]], %[[ONES]][%{{.*}} : i32] : vector<2xi16>
llvm.func @vectors(%from : !llvm.ptr, %to : !llvm.ptr) {
  %ones = llvm.mlir.constant(dense<1.0> : vector<2xbf16>) : vector<2xbf16>
  %x = llvm.load %from : !llvm.ptr -> bf16
  %place = llvm.mlir.constant(0 : i32) : i32
  %both = llvm.insertelement %x, %ones[%place : i32] : vector<2xbf16>
  llvm.store %both, %to : vector<2xbf16>, !llvm.ptr
  llvm.return
}

// -----

llvm.func @add(%from : !llvm.ptr) {
  %x = llvm.load %from : !llvm.ptr -> bf16
  // expected-error @+1 {{expected no arithmetic on bf16}}
  %y = llvm.fadd %x, %x : bf16
  llvm.store %y, %from : bf16, !llvm.ptr
  llvm.return
}
