// RUN: nsa-opt %s --nsa-assign-tiles --nsa-launch-to-loops --canonicalize --cse | FileCheck %s

// A scan is a loop that carries its sums: each row stores the sum before it,
// and the last one follows the loop.
// CHECK-LABEL: func.func @scan.kernel(
// CHECK-SAME:    %[[N:[a-z0-9]+]]: index,
// CHECK-SAME:    %[[A:[a-z0-9]+]]: memref<?xi64, strided<[?]>> {nsa.readonly},
// CHECK-SAME:    %[[X:[a-z0-9]+]]: memref<?xi32>, %[[CU:[a-z0-9]+]]: memref<?xi32, strided<[?]>>) attributes {nsa.kernel} {
// CHECK:      %[[SUM:.*]] = scf.for %[[ROW:.*]] = %c0 to %[[N]] step %c1 iter_args(%[[BEFORE:.*]] = %c0_i32) -> (i32) {
// CHECK-NEXT:   %[[LOADED:.*]] = memref.load %[[A]][%[[ROW]]]
// CHECK-NEXT:   %[[LENGTH:.*]] = arith.trunci %[[LOADED]] : i64 to i32
// CHECK-NEXT:   memref.store %[[LENGTH]], %[[X]][%[[ROW]]]
// CHECK-NEXT:   memref.store %[[BEFORE]], %[[CU]][%[[ROW]]]
// CHECK-NEXT:   %[[NEXT:.*]] = arith.addi %[[BEFORE]], %[[LENGTH]]
// CHECK-NEXT:   scf.yield %[[NEXT]]
// CHECK-NEXT: }
// CHECK-NEXT: memref.store %[[SUM]], %[[CU]][%[[N]]]
// CHECK-NEXT: return
nsa.step @scan(in %n : index, in %a[%n] : tensor<?xi64>, out %x : memref<?xi32>,
               out %cu : memref<?xi32, strided<[?]>>) {
  nsa.launch @kernel {
    nsa.segment scan(%n) {
      %len = nsa.seqlens %a plus 0 : tensor<?xi64> -> tensor<?xi32>
      nsa.copy %len to %x : tensor<?xi32> to memref<?xi32>
      %sums = nsa.cu_seqlens %len : tensor<?xi32> -> tensor<?xi32>
      nsa.copy %sums to %cu : tensor<?xi32> to memref<?xi32, strided<[?]>>
    }
  }
}

// A tile is a loop nest, four columns at a time: one load, and a store for each
// destination, where all of them are aligned or one by one.
// CHECK-LABEL: func.func @tile.kernel(
// CHECK-SAME:    %[[M:[a-z0-9]+]]: index,
// CHECK-SAME:    %[[A:[a-z0-9]+]]: memref<?x?xi32, strided<[?, 1]>> {nsa.readonly},
// CHECK-SAME:    %[[X:[a-z0-9]+]]: memref<?x?xi32>, %[[Y:[a-z0-9]+]]: memref<?x?xi32>, %[[N:[a-z0-9]+]]: index) attributes {nsa.kernel} {
// CHECK:      scf.for %[[ROW:.*]] = %c0 to %[[N]] step %c1 {
// CHECK-NEXT:   scf.for %[[COLUMN:.*]] = %c0 to %[[M]] step %c4 {
// CHECK:          vector.load %[[A]][%[[ROW]], %[[COLUMN]]]
// CHECK-NOT:      vector.load
// CHECK:          vector.store %{{.*}}, %[[X]][%[[ROW]], %[[COLUMN]]]
// CHECK-NEXT:     vector.store %{{.*}}, %[[Y]][%[[ROW]], %[[COLUMN]]]
// CHECK-NEXT:   } else {
// CHECK:          vector.store %{{.*}}, %[[X]][%[[ROW]], %[[COLUMN]]]
// CHECK:          vector.store %{{.*}}, %[[Y]][%[[ROW]], %[[COLUMN]]]
// CHECK-NOT:      vector.store
// CHECK:      return
nsa.step @tile(in %n : index, in %m : index, in %a[%n, %m] : tensor<?x?xi32>,
               out %x : memref<?x?xi32>, out %y : memref<?x?xi32>) {
  nsa.launch @kernel {
    nsa.segment tile(%n, %m) {
      nsa.copy %a to %x, %y
          : tensor<?x?xi32> to memref<?x?xi32>, memref<?x?xi32>
    }
  }
}

// A function for each launch, and each has what it uses.
// CHECK-LABEL: func.func @two.first(
// CHECK-SAME:    %{{[a-z0-9]+}}: memref<4xi32, strided<[?]>> {nsa.readonly}, %{{[a-z0-9]+}}: memref<4xi32>) attributes {nsa.kernel} {
// CHECK-LABEL: func.func @two.second(
// CHECK-SAME:    %{{[a-z0-9]+}}: memref<?xi32, strided<[?]>> {nsa.readonly, nsa.sizes = array<i64: 0>}, %{{[a-z0-9]+}}: memref<?xi32>) attributes {nsa.kernel} {
// CHECK: memref.dim
nsa.step @two(in %a : tensor<4xi32>, in %b : tensor<?xi32>,
              out %x : memref<4xi32>, out %y : memref<?xi32>) {
  %c4 = arith.constant 4 : index
  nsa.launch @first {
    nsa.segment tile(%c4) {
      nsa.copy %a to %x : tensor<4xi32> to memref<4xi32>
    }
  }
  %c0 = arith.constant 0 : index
  %size = tensor.dim %b, %c0 : tensor<?xi32>
  nsa.launch @second {
    nsa.segment tile(%size) {
      nsa.copy %b to %y : tensor<?xi32> to memref<?xi32>
    }
  }
}

