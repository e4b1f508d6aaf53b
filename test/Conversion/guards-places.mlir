// Guards have the first element of a launch that goes to a computed place store
// there, and record the others: claims stand in a table for each array, and a
// launch has a number, which its blocks leave alone until they end.

// RUN: nsa-opt %s --nsa-assign-tiles --nsa-launch-to-loops --canonicalize --cse | FileCheck %s --check-prefixes=CHECK,HOST
// RUN: nsa-opt %s --nsa-assign-tiles --nsa-launch-to-gpu --canonicalize --cse | FileCheck %s --check-prefixes=CHECK,GPU

// Two words of the launches, and 65,536 claims of each array, those of all
// kernels.
// HOST-DAG: llvm.mlir.global external @places.nsa_guards(dense<0> : tensor<260xi64>)
// HOST-DAG: llvm.mlir.global external @places.nsa_claims(dense<0> : tensor<131074xi64>) {addr_space = 0 : i32, alignment = 16 : i64}
// GPU-LABEL: gpu.module @places
// GPU-DAG:   llvm.mlir.global external @nsa_guards(dense<0> : tensor<260xi64>)
// GPU-DAG:   llvm.mlir.global external @nsa_claims(dense<0> : tensor<131074xi64>) {addr_space = 1 : i32, alignment = 16 : i64}

// HOST-LABEL: func.func @places.first(
// GPU-LABEL: gpu.func @first(
// The first thread of all says that the launch has begun.
// GPU:         scf.if
// CHECK:       llvm.atomicrmw add %{{.*}}, %{{.*}}{{( syncscope\("device"\))?}} monotonic
// CHECK:       memref.load
// CHECK:       scf.if %{{.*}} {
// CHECK:         memref.extract_aligned_pointer_as_index
// CHECK:         arith.extui %{{.*}} : i32 to i64
// CHECK:         %[[CLAIM:.*]] = arith.ori %{{.*}}, %[[ELEMENT:.*]] : i64
// CHECK:         %[[STATE:.*]]:2 = scf.while
// CHECK:           %[[FOUND:.*]] = llvm.load %[[AT:.*]] atomic {{(syncscope\("device"\) )?}}monotonic
// CHECK:           scf.if
// CHECK:             llvm.cmpxchg %[[AT]], %[[FOUND]], %[[CLAIM]] {{(syncscope\("device"\) )?}}monotonic monotonic
// Of one that was not looked at it is known how many there are.
// CHECK:         %[[IS_UNKNOWN:.*]] = arith.cmpi eq, %[[STATE]]#1, %c0_i32
// CHECK-NEXT:    scf.if %[[IS_UNKNOWN]] {
// CHECK-NEXT:      %[[UNCLAIMED:.*]] = llvm.getelementptr %{{.*}}[1]
// CHECK-NEXT:      llvm.atomicrmw add %[[UNCLAIMED]]
// A place that is taken.
// CHECK:         %[[IS_TAKEN:.*]] = arith.cmpi eq, %[[STATE]]#1, %c2_i32
// CHECK-NEXT:    scf.if %[[IS_TAKEN]] {
// CHECK:           llvm.atomicrmw add
// CHECK:         } else {
// CHECK-NEXT:      memref.store
// Each block ends its share of the launch, after all of its threads.
// GPU:         gpu.barrier
// GPU:         scf.if
// CHECK:       llvm.atomicrmw add
// CHECK:       scf.for
// CHECK-NOT:   llvm.cmpxchg
// CHECK:       return
// HOST-LABEL: func.func @places.second(
// GPU-LABEL: gpu.func @second(
// CHECK:         llvm.cmpxchg
// A kernel without such stores claims nothing and counts no launch.
// HOST-LABEL: func.func @places.third(
// GPU-LABEL: gpu.func @third(
// CHECK-NOT:     nsa_claims
// CHECK:         memref.store
// CHECK-NOT:     nsa_claims
// CHECK:       return
nsa.step @places(in %n : index, in %v[%n] : tensor<?xi32>, in %p[%n] : tensor<?xi64>,
                 out %a : memref<?xi32>, out %b : memref<?x?xi32>, out %c : memref<?xi32>)
    attributes {guards} {
  nsa.launch @first {
    nsa.segment tile(%n) {
      nsa.copy %v at [%p] to %a : tensor<?xi32> at tensor<?xi64> to memref<?xi32>
    }
  }
  nsa.launch @second {
    nsa.segment tile(%n) {
      nsa.copy %v at [%p, %p] to %b : tensor<?xi32> at tensor<?xi64>, tensor<?xi64> to memref<?x?xi32>
    }
  }
  nsa.launch @third {
    nsa.segment tile(%n) {
      nsa.copy %v to %c : tensor<?xi32> to memref<?xi32>
    }
  }
}
