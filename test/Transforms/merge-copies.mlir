// RUN: nsa-opt %s --pass-pipeline='builtin.module(nsa.step(nsa-merge-copies))' \
// RUN:   --remarks-filter=nsa --verify-diagnostics | FileCheck %s

// Copies of one value become one, after the values, with all destinations.
// CHECK-LABEL: nsa.step @merge
nsa.step @merge(in %a : tensor<?xi32>, in %b : tensor<?xi32>,
                out %u : memref<?xi32>, out %v : memref<?xi32, strided<[?]>>,
                out %w : memref<?xi32>, out %x : memref<?xi32>,
                out %y : memref<?xi32>, out %z : memref<?xi32>) {
  // CHECK-NEXT: %[[LEN:.*]] = nsa.seqlens %a plus 1
  // CHECK-NEXT: nsa.copy %[[LEN]] to %u, %v, %w, %y : tensor<?xi32> to memref<?xi32>, memref<?xi32, strided<[?]>>, memref<?xi32>, memref<?xi32>
  // CHECK-NEXT: nsa.copy %b to %x, %z
  // CHECK-NEXT: }
  %len = nsa.seqlens %a plus 1 : tensor<?xi32> -> tensor<?xi32>
  // expected-remark @+1 {{merged 3 copies into one with 4 destinations}}
  nsa.copy %len to %u : tensor<?xi32> to memref<?xi32>
  nsa.copy %len to %v, %w
      : tensor<?xi32> to memref<?xi32, strided<[?]>>, memref<?xi32>
  // expected-remark @+1 {{merged 2 copies into one with 2 destinations}}
  nsa.copy %b to %x : tensor<?xi32> to memref<?xi32>
  nsa.copy %len to %y : tensor<?xi32> to memref<?xi32>
  nsa.copy %b to %z : tensor<?xi32> to memref<?xi32>
}

// Values that are equal but not the same are left to CSE, and nothing is said
// of a copy that stays alone.
// CHECK-LABEL: nsa.step @separate
nsa.step @separate(in %a : tensor<?xi32>, out %x : memref<?xi32>,
                   out %y : memref<?xi32>) {
  // CHECK: nsa.copy %{{.*}} to %x :
  // CHECK: nsa.copy %{{.*}} to %y :
  %len0 = nsa.seqlens %a plus 1 : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %len0 to %x : tensor<?xi32> to memref<?xi32>
  %len1 = nsa.seqlens %a plus 1 : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %len1 to %y : tensor<?xi32> to memref<?xi32>
}

// Destinations and copies stand in the order of the ports, whatever the text's;
// so does a copy that stays alone, and copies with another start stay apart.
// CHECK-LABEL: nsa.step @order
nsa.step @order(in %a : tensor<?xi32>, in %b : tensor<?xi32>,
                out %v : memref<?xi32>, out %w : memref<?xi32>,
                out %x : memref<?xi32>, out %y : memref<?xi32>,
                out %z : memref<?xi32>) {
  // CHECK-NEXT: %[[LEN:.*]] = nsa.seqlens %a plus 1
  // CHECK-NEXT: nsa.copy %[[LEN]] to %v, %w, %z :
  // CHECK-NEXT: nsa.copy %b to %x :
  // CHECK-NEXT: nsa.copy %[[LEN]] from 1 to %y :
  // CHECK-NEXT: }
  nsa.copy %b to %x : tensor<?xi32> to memref<?xi32>
  %len = nsa.seqlens %a plus 1 : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %len from 1 to %y : tensor<?xi32> to memref<?xi32>
  // expected-remark @+1 {{merged 2 copies into one with 3 destinations}}
  nsa.copy %len to %z, %v
      : tensor<?xi32> to memref<?xi32>, memref<?xi32>
  nsa.copy %len to %w : tensor<?xi32> to memref<?xi32>
}
