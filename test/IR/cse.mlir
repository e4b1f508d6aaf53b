// Values that are computed alike become one, also across copies: values are
// immutable, so no copy stands between two of them.

// RUN: nsa-opt %s --cse | FileCheck %s

// CHECK-LABEL: nsa.step @alike
nsa.step @alike(in %n : index, in %a : tensor<?xi64>, in %t : tensor<?x?xi32>,
                out %x : memref<?xi32>, out %y : memref<?xi32>,
                out %v : memref<?x?xi32>, out %w : memref<?x?xi32>) {
  // CHECK-NEXT: %[[LEN:.*]] = nsa.seqlens %a plus 0
  // CHECK-NEXT: %[[CU:.*]] = nsa.cu_seqlens %[[LEN]]
  // CHECK-NEXT: %[[TAB:.*]] = nsa.page_table %t[%a] columns %n
  // CHECK-NEXT: nsa.copy %[[CU]] to %x
  // CHECK-NEXT: nsa.copy %[[TAB]] to %v
  %len0 = nsa.seqlens %a plus 0 : tensor<?xi64> -> tensor<?xi32>
  %cu0 = nsa.cu_seqlens %len0 : tensor<?xi32> -> tensor<?xi32>
  %tab0 = nsa.page_table %t[%a] columns %n
      : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x?xi32>
  nsa.copy %cu0 to %x : tensor<?xi32> to memref<?xi32>
  nsa.copy %tab0 to %v : tensor<?x?xi32> to memref<?x?xi32>
  // CHECK-NEXT: nsa.copy %[[CU]] to %y
  // CHECK-NEXT: nsa.copy %[[TAB]] to %w
  // CHECK-NEXT: }
  %len1 = nsa.seqlens %a plus 0 : tensor<?xi64> -> tensor<?xi32>
  %cu1 = nsa.cu_seqlens %len1 : tensor<?xi32> -> tensor<?xi32>
  %tab1 = nsa.page_table %t[%a] columns %n
      : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x?xi32>
  nsa.copy %cu1 to %y : tensor<?xi32> to memref<?xi32>
  nsa.copy %tab1 to %w : tensor<?x?xi32> to memref<?x?xi32>
}

// Another constant is another value.
// CHECK-LABEL: nsa.step @different
nsa.step @different(in %a : tensor<?xi32>, out %x : memref<?xi32>,
                    out %y : memref<?xi32>) {
  // CHECK-NEXT: %[[X:.*]] = nsa.clip_seqlens %a to 1024
  // CHECK-NEXT: %[[Y:.*]] = nsa.clip_seqlens %a to 2048
  // CHECK-NEXT: nsa.copy %[[X]] to %x
  // CHECK-NEXT: nsa.copy %[[Y]] to %y
  %clip0 = nsa.clip_seqlens %a to 1024 : tensor<?xi32>
  %clip1 = nsa.clip_seqlens %a to 2048 : tensor<?xi32>
  nsa.copy %clip0 to %x : tensor<?xi32> to memref<?xi32>
  nsa.copy %clip1 to %y : tensor<?xi32> to memref<?xi32>
}
