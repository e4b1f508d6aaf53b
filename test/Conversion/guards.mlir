// Guards let an access happen where it is inside of its array, and record it
// where it is not, in a global beside the kernel.

// RUN: nsa-opt %s --nsa-assign-tiles --nsa-launch-to-loops --canonicalize --cse | FileCheck %s --check-prefixes=CHECK,HOST
// RUN: nsa-opt %s --nsa-assign-tiles --nsa-launch-to-gpu --canonicalize --cse | FileCheck %s --check-prefixes=CHECK,GPU

// HOST-DAG: llvm.mlir.global external @element.nsa_guards(dense<0> : tensor<260xi64>) {addr_space = 0 : i32, alignment = 16 : i64} : !llvm.array<260 x i64>
// HOST-DAG: llvm.mlir.global external @rows.nsa_guards(dense<0> : tensor<260xi64>)

// A load of operation 3 of argument 1. It gives 0 where it does not happen.
// HOST-LABEL: func.func @element.kernel(
// GPU-LABEL: gpu.module @element
// GPU-NEXT:  llvm.mlir.global external @nsa_guards(dense<0> : tensor<260xi64>) {addr_space = 1 : i32, alignment = 16 : i64} : !llvm.array<260 x i64>
// CHECK-DAG:   %[[ZERO:.*]] = arith.constant 0 : i64
// CHECK-DAG:   %[[ONE:.*]] = arith.constant 1 : i64
// CHECK-DAG:   %[[RECORDS:.*]] = arith.constant 64 : i64
// CHECK-DAG:   %[[SITE:.*]] = arith.constant 1048579 : i64
// HOST-DAG:    %[[BUFFER:.*]] = llvm.mlir.addressof @element.nsa_guards : !llvm.ptr
// HOST-DAG:    %[[THREAD:.*]] = arith.constant -1 : i64
// GPU-DAG:     %[[BUFFER:.*]] = llvm.mlir.addressof @nsa_guards : !llvm.ptr<1>
// CHECK:       %[[SIZE:.*]] = memref.dim %[[A:.*]], %c0
// CHECK-NEXT:  %[[INSIDE:.*]] = arith.cmpi ult, %[[I:.*]], %[[SIZE]] : index
// CHECK-NEXT:  %[[EXPECTED:.*]] = llvm.intr.expect %[[INSIDE]], %true : i1
// CHECK-NEXT:  scf.if %[[EXPECTED]] -> (i64) {
// CHECK-NEXT:    %[[LOADED:.*]] = memref.load %[[A]][%[[I]]]
// CHECK-NEXT:    scf.yield %[[LOADED]] : i64
// CHECK-NEXT:  } else {
// GPU-NEXT:      %[[BLOCK:.*]] = arith.index_cast %block_id_x : index to i64
// GPU-NEXT:      %[[LANE:.*]] = arith.index_cast %thread_id_x : index to i64
// GPU-NEXT:      %[[HIGH:.*]] = arith.shli %[[BLOCK]], %c32_i64 : i64
// GPU-NEXT:      %[[THREAD:.*]] = arith.ori %[[HIGH]], %[[LANE]] : i64
// HOST-NEXT:     %[[NUMBER:.*]] = llvm.atomicrmw add %[[BUFFER]], %[[ONE]] monotonic
// GPU-NEXT:      %[[NUMBER:.*]] = llvm.atomicrmw add %[[BUFFER]], %[[ONE]] syncscope("device") monotonic
// CHECK-NEXT:    %[[ROOM:.*]] = arith.cmpi ult, %[[NUMBER]], %[[RECORDS]] : i64
// CHECK-NEXT:    scf.if %[[ROOM]] {
// CHECK:           llvm.store %[[SITE]], %{{.*}} : i64
// CHECK:           llvm.store %{{.*}}, %{{.*}} : i64
// CHECK:           llvm.store %{{.*}}, %{{.*}} : i64
// CHECK:           llvm.store %[[THREAD]], %{{.*}} : i64
// CHECK-NEXT:    }
// CHECK-NEXT:    scf.yield %[[ZERO]] : i64
// A store does nothing.
// CHECK:       memref.store
// CHECK-NEXT:  } else {
// CHECK:         llvm.atomicrmw add
nsa.step @element(in %n : index, in %a[%n] : tensor<?xi64>, out %x : memref<?xi32, strided<[?]>>)
    attributes {guards} {
  nsa.launch @kernel {
    nsa.segment tile(%n) {
      %len = nsa.seqlens %a plus 0 : tensor<?xi64> -> tensor<?xi32>
      nsa.copy %len to %x : tensor<?xi32> to memref<?xi32, strided<[?]>>
    }
  }
}

// Both ends of a vector and every dimension are compared; the record has the
// first comparison that does not hold.
// HOST-LABEL: func.func @rows.kernel(
// GPU-LABEL: gpu.module @rows
// CHECK:       %[[FIRST:.*]] = arith.cmpi ult, %[[ROW:.*]], %[[ROWS:.*]] : index
// CHECK:       %[[SECOND:.*]] = arith.cmpi ult, %[[COLUMN:.*]], %[[COLUMNS:.*]] : index
// CHECK:       %[[THIRD:.*]] = arith.cmpi ult, %[[LAST:.*]], %[[COLUMNS]] : index
// CHECK:       %[[BOTH:.*]] = arith.andi %[[FIRST]], %[[SECOND]] : i1
// CHECK-NEXT:  %[[ALL:.*]] = arith.andi %[[BOTH]], %[[THIRD]] : i1
// CHECK-NEXT:  %[[EXPECTED:.*]] = llvm.intr.expect %[[ALL]], %true : i1
// CHECK-NEXT:  scf.if %[[EXPECTED]] -> (vector<4xi32>) {
// CHECK-NEXT:    vector.load %{{.*}}[%[[ROW]], %[[COLUMN]]] {alignment = 16 : i64}
// CHECK:       } else {
// CHECK:         %[[AT:.*]] = arith.select %[[SECOND]], %[[LAST]], %[[COLUMN]] : index
// CHECK:         arith.select %[[FIRST]], %[[AT]], %[[ROW]] : index
// CHECK:         arith.select %[[FIRST]], %[[COLUMNS]], %[[ROWS]] : index
// CHECK:         scf.yield %{{.*}} : vector<4xi32>
nsa.step @rows(in %a : tensor<?x?xi32>, out %x : memref<?x?xi32>) attributes {guards} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %rows = tensor.dim %a, %c0 : tensor<?x?xi32>
  %columns = tensor.dim %a, %c1 : tensor<?x?xi32>
  nsa.launch @kernel {
    nsa.segment tile(%rows, %columns) {
      nsa.copy %a to %x : tensor<?x?xi32> to memref<?x?xi32>
    }
  }
}
