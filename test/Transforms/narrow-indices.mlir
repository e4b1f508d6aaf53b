// An index that is cast to fewer bits keeps only these, also where it is cast
// back: canonicalisation takes such a pair of casts for nothing.

// RUN: nsa-opt %s --pass-pipeline='builtin.module(nsa.step(nsa-narrow-indices,canonicalize))' | FileCheck %s
// RUN: nsa-opt %s --pass-pipeline='builtin.module(nsa.step(nsa-narrow-indices,nsa-narrow-indices))' | FileCheck %s

// CHECK-LABEL: nsa.step @step
// CHECK: nsa.map(%[[R:.*]]) in
// CHECK: %[[WIDE:.*]] = arith.index_cast %[[R]] : index to i64
// CHECK: %[[LOW:.*]] = arith.trunci %[[WIDE]] : i64 to i8
// CHECK-NEXT: arith.index_cast %[[LOW]] : i8 to index
// CHECK: arith.index_castui %{{.*}} : index to i64
// CHECK: arith.trunci %{{.*}} : i64 to i32
nsa.step @step(in %n : index, out %a : memref<?xi64>) {
  %v = nsa.map(%r) in (%n) : tensor<?xi64> {
    %low = arith.index_cast %r : index to i8
    %back = arith.index_cast %low : i8 to index
    %more = arith.addi %back, %r : index
    %half = arith.index_castui %more : index to i32
    %whole = arith.extui %half : i32 to i64
    nsa.yield %whole : i64
  }
  nsa.copy %v to %a : tensor<?xi64> to memref<?xi64>
}
