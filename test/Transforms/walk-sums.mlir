// Sums that are stored become cumulative sums, which one block walks; who reads
// them adds up.

// RUN: nsa-opt %s --pass-pipeline='builtin.module(nsa.step(nsa-walk-sums))' | FileCheck %s

// CHECK-LABEL: nsa.step @both
// CHECK:         %[[CU:.*]] = nsa.cu_seqlens %lens
// CHECK:         %[[OFF:.*]] = nsa.scan %lens
// CHECK:         nsa.read %[[OFF]]
// CHECK:         nsa.copy %[[CU]] to %sums
nsa.step @both(in %n : index, in %lens[%n] : tensor<?xi32>,
               out %sums : memref<?xi32>, out %begins : memref<?xi32>) {
  %off = nsa.scan %lens : tensor<?xi32> -> tensor<?xi32>
  %begin = nsa.map(%r) in (%n) : tensor<?xi32> {
    %sum = nsa.read %off[%r] : tensor<?xi32>
    nsa.yield %sum : i32
  }
  nsa.copy %off to %sums : tensor<?xi32> to memref<?xi32>
  nsa.copy %begin to %begins : tensor<?xi32> to memref<?xi32>
}

// CHECK-LABEL: nsa.step @stored_alone
// CHECK-NEXT:    nsa.cu_seqlens %lens
// CHECK-NEXT:    nsa.copy
// CHECK-NEXT:  }
nsa.step @stored_alone(in %n : index, in %lens[%n] : tensor<?xi32>,
                       out %sums : memref<?xi32>) {
  %off = nsa.scan %lens : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %off to %sums : tensor<?xi32> to memref<?xi32>
}

// Inclusive sums, sums of rows, and sums of rows of an expansion stay.
// CHECK-LABEL: nsa.step @others
// CHECK-NOT:     cu_seqlens
nsa.step @others(in %n : index, in %lens[%n] : tensor<?xi32>,
                 in %table[%n, ?] : tensor<?x4xi32>, out %a : memref<?xi32>,
                 out %b : memref<?x5xi32>, out %c : memref<?xi32>) {
  %x = nsa.scan inclusive %lens : tensor<?xi32> -> tensor<?xi32>
  %y = nsa.scan %table : tensor<?x4xi32> -> tensor<?x5xi32>
  %rows = nsa.expansion by 2
  %exp = nsa.expand_seqlens broadcast %lens over %rows
      : tensor<?xi32> -> tensor<?xi32>
  %z = nsa.scan %exp : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %x to %a : tensor<?xi32> to memref<?xi32>
  nsa.copy %y to %b : tensor<?x5xi32> to memref<?x5xi32>
  nsa.copy %z to %c : tensor<?xi32> to memref<?xi32>
}
