// Elements before `from` are not written, in tiles and in scans.
//
// RUN: nsa-opt %s --nsa-form-launches --nsa-assign-tiles --nsa-launch-to-gpu --canonicalize | FileCheck %s

// CHECK-LABEL: gpu.func @step_d
// CHECK-DAG: %[[ONE:.*]] = arith.constant 1 : index
// CHECK: arith.cmpi sge, %{{.*}}, %[[ONE]]
// CHECK: memref.store
// CHECK-LABEL: gpu.func @step_e
// CHECK-DAG: %[[ONE:.*]] = arith.constant 1 : index
// CHECK: arith.cmpi sge, %{{.*}}, %[[ONE]]
nsa.step @step(in %bs : index, in %cu[%bs + 1] : tensor<?xi32>, in %s[%bs] : tensor<?xi32>,
               out %d : memref<?xi32, strided<[?]>>, out %e : memref<?xi32>) {
  nsa.copy %cu from 1 to %d : tensor<?xi32> to memref<?xi32, strided<[?]>>
  %sums = nsa.cu_seqlens %s : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %sums from 1 to %e : tensor<?xi32> to memref<?xi32>
}
