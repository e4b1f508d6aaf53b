// RUN: nsa-opt %s --pass-pipeline='builtin.module(nsa.step(nsa-fuse-launches))' \
// RUN:   --remarks-filter=nsa --verify-diagnostics | FileCheck %s

// All launches become one, named after the step. Scans and one-dimensional
// tiles over the same rows share a segment, and so do tiles over the same rows
// and columns.
// CHECK-LABEL: nsa.step @equal_spaces
// expected-remark @+1 {{fused 5 launches into 1 with 2 segments}}
nsa.step @equal_spaces(in %n : index, in %m : index, in %a[%n] : tensor<?xi32>,
                       in %b[%n, %m] : tensor<?x?xi32>,
                       in %c[%n, %m] : tensor<?x?xi32>,
                       out %v : memref<?xi32>, out %w : memref<?xi32>,
                       out %x : memref<?xi32>, out %y : memref<?x?xi32>,
                       out %z : memref<?x?xi32>) {
  // CHECK-NEXT: nsa.launch @equal_spaces {
  // CHECK-NEXT:   nsa.segment scan(%n) {
  // CHECK-NEXT:     nsa.copy %a to %v
  // CHECK-NEXT:     %[[CU:.*]] = nsa.cu_seqlens %a
  // CHECK-NEXT:     nsa.copy %[[CU]] to %w
  // CHECK-NEXT:     %[[CLIP:.*]] = nsa.clip_seqlens %a to 8
  // CHECK-NEXT:     nsa.copy %[[CLIP]] to %x
  // CHECK-NEXT:   }
  // CHECK-NEXT:   nsa.segment tile(%n, %m) {
  // CHECK-NEXT:     nsa.copy %b to %y
  // CHECK-NEXT:     nsa.copy %c to %z
  // CHECK-NEXT:   }
  // CHECK-NEXT: }
  // CHECK-NEXT: }
  nsa.launch @one {
    nsa.segment tile(%n) {
      nsa.copy %a to %v : tensor<?xi32> to memref<?xi32>
    }
  }
  nsa.launch @two {
    nsa.segment tile(%n, %m) {
      nsa.copy %b to %y : tensor<?x?xi32> to memref<?x?xi32>
    }
  }
  nsa.launch @three {
    nsa.segment scan(%n) {
      %cu = nsa.cu_seqlens %a : tensor<?xi32> -> tensor<?xi32>
      nsa.copy %cu to %w : tensor<?xi32> to memref<?xi32>
    }
  }
  nsa.launch @four {
    nsa.segment tile(%n) {
      %clip = nsa.clip_seqlens %a to 8 : tensor<?xi32>
      nsa.copy %clip to %x : tensor<?xi32> to memref<?xi32>
    }
  }
  nsa.launch @five {
    nsa.segment tile(%n, %m) {
      nsa.copy %c to %z : tensor<?x?xi32> to memref<?x?xi32>
    }
  }
}

// Other rows are another segment, of the same launch.
// CHECK-LABEL: nsa.step @other_spaces
// expected-remark @+1 {{fused 3 launches into 1 with 3 segments}}
nsa.step @other_spaces(in %n : index, in %m : index, in %a[%n] : tensor<?xi32>,
                       in %b[%m] : tensor<?xi32>,
                       in %c[%n, %m] : tensor<?x?xi32>, out %x : memref<?xi32>,
                       out %y : memref<?xi32>, out %z : memref<?x?xi32>) {
  // CHECK-NEXT: nsa.launch @other_spaces {
  // CHECK-NEXT:   nsa.segment tile(%n) {
  // CHECK-NEXT:     nsa.copy %a to %x
  // CHECK-NEXT:   }
  // CHECK-NEXT:   nsa.segment tile(%m) {
  // CHECK-NEXT:     nsa.copy %b to %y
  // CHECK-NEXT:   }
  // CHECK-NEXT:   nsa.segment tile(%n, %m) {
  // CHECK-NEXT:     nsa.copy %c to %z
  nsa.launch @one {
    nsa.segment tile(%n) {
      nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
    }
  }
  nsa.launch @two {
    nsa.segment tile(%m) {
      nsa.copy %b to %y : tensor<?xi32> to memref<?xi32>
    }
  }
  nsa.launch @three {
    nsa.segment tile(%n, %m) {
      nsa.copy %c to %z : tensor<?x?xi32> to memref<?x?xi32>
    }
  }
}

// Pages join the copy of the table that they are picked from.
// CHECK-LABEL: nsa.step @pages
// expected-remark @+1 {{fused 2 launches into 1 with 1 segments}}
nsa.step @pages(in %n : index, in %m : index, in %a[%n] : tensor<?xi32>,
                in %t : tensor<?x?xi32>, out %x : memref<?x?xi32>,
                out %y : memref<?x?xi32>) {
  // CHECK-NEXT: nsa.launch @pages {
  // CHECK-NEXT:   nsa.segment tile(%n, %m) {
  // CHECK-NEXT:     %[[TAB:.*]] = nsa.page_table
  // CHECK-NEXT:     nsa.copy %[[TAB]] to %x
  // CHECK-NEXT:     %[[REAL:.*]] = nsa.real_page_table %[[TAB]] page_size 64
  // CHECK-NEXT:     nsa.copy %[[REAL]] to %y
  // CHECK-NEXT:   }
  // CHECK-NEXT: }
  %columns = affine.apply affine_map<()[s0] -> (s0 ceildiv 64)>()[%m]
  nsa.launch @one {
    nsa.segment tile(%n, %columns) {
      %tab = nsa.page_table %t[%a] columns %m
          : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
      %real = nsa.real_page_table %tab page_size 64
          : tensor<?x?xi32> -> tensor<?x?xi32>
      nsa.copy %real to %y : tensor<?x?xi32> to memref<?x?xi32>
    }
  }
  nsa.launch @two {
    nsa.segment tile(%n, %m) {
      %tab = nsa.page_table %t[%a] columns %m
          : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
      nsa.copy %tab to %x : tensor<?x?xi32> to memref<?x?xi32>
    }
  }
}

// Lengths that each segment computes for itself make no other table.
// CHECK-LABEL: nsa.step @live_pages
// expected-remark @+1 {{fused 2 launches into 1 with 1 segments}}
nsa.step @live_pages(in %n : index, in %m : index, in %a[%n] : tensor<?xi32>,
                     in %s[%n] : tensor<?xi32>, in %t : tensor<?x?xi32>,
                     out %x : memref<?x?xi32>, out %y : memref<?x?xi32>) {
  // CHECK:      %[[TAB:.*]] = nsa.page_table
  // CHECK-NEXT: nsa.copy %[[TAB]] to %x
  // CHECK:      %[[REAL:.*]] = nsa.real_page_table %[[TAB]] page_size 64
  // CHECK-NEXT: nsa.copy %[[REAL]] to %y
  %columns = affine.apply affine_map<()[s0] -> (s0 ceildiv 64)>()[%m]
  nsa.launch @one {
    nsa.segment tile(%n, %m) {
      %len = nsa.seqlens %s plus 0 : tensor<?xi32> -> tensor<?xi32>
      %tab = nsa.page_table %t[%a] columns %m live %len
          : tensor<?xi32> : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
      nsa.copy %tab to %x : tensor<?x?xi32> to memref<?x?xi32>
    }
  }
  nsa.launch @two {
    nsa.segment tile(%n, %columns) {
      %len = nsa.seqlens %s plus 0 : tensor<?xi32> -> tensor<?xi32>
      %tab = nsa.page_table %t[%a] columns %m live %len
          : tensor<?xi32> : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
      %real = nsa.real_page_table %tab page_size 64
          : tensor<?x?xi32> -> tensor<?x?xi32>
      nsa.copy %real to %y : tensor<?x?xi32> to memref<?x?xi32>
    }
  }
}

// Other lengths make another table.
// CHECK-LABEL: nsa.step @other_live_pages
// expected-remark @+1 {{fused 2 launches into 1 with 2 segments}}
nsa.step @other_live_pages(in %n : index, in %m : index,
                           in %a[%n] : tensor<?xi32>,
                           in %s[%n] : tensor<?xi32>, in %t : tensor<?x?xi32>,
                           out %x : memref<?x?xi32>, out %y : memref<?x?xi32>) {
  // CHECK: nsa.segment tile(%n, %m)
  // CHECK: nsa.segment tile(%n, %0)
  %columns = affine.apply affine_map<()[s0] -> (s0 ceildiv 64)>()[%m]
  nsa.launch @one {
    nsa.segment tile(%n, %m) {
      %len = nsa.seqlens %s plus 0 : tensor<?xi32> -> tensor<?xi32>
      %tab = nsa.page_table %t[%a] columns %m live %len
          : tensor<?xi32> : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
      nsa.copy %tab to %x : tensor<?x?xi32> to memref<?x?xi32>
    }
  }
  nsa.launch @two {
    nsa.segment tile(%n, %columns) {
      %len = nsa.seqlens %s plus 1 : tensor<?xi32> -> tensor<?xi32>
      %tab = nsa.page_table %t[%a] columns %m live %len
          : tensor<?xi32> : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
      %real = nsa.real_page_table %tab page_size 64
          : tensor<?x?xi32> -> tensor<?x?xi32>
      nsa.copy %real to %y : tensor<?x?xi32> to memref<?x?xi32>
    }
  }
}

// They do not join another table.
// CHECK-LABEL: nsa.step @pages_of_another
// expected-remark @+1 {{fused 2 launches into 1 with 2 segments}}
nsa.step @pages_of_another(in %n : index, in %m : index,
                           in %a[%n] : tensor<?xi32>,
                           in %b[%n] : tensor<?xi32>, in %t : tensor<?x?xi32>,
                           out %x : memref<?x?xi32>, out %y : memref<?x?xi32>) {
  %columns = affine.apply affine_map<()[s0] -> (s0 ceildiv 64)>()[%m]
  // CHECK: nsa.segment tile(%n, %m)
  nsa.launch @one {
    nsa.segment tile(%n, %m) {
      %tab = nsa.page_table %t[%a] columns %m
          : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
      nsa.copy %tab to %x : tensor<?x?xi32> to memref<?x?xi32>
    }
  }
  // CHECK: nsa.segment tile(%n, %0)
  nsa.launch @two {
    nsa.segment tile(%n, %columns) {
      %tab = nsa.page_table %t[%b] columns %m
          : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
      %real = nsa.real_page_table %tab page_size 64
          : tensor<?x?xi32> -> tensor<?x?xi32>
      nsa.copy %real to %y : tensor<?x?xi32> to memref<?x?xi32>
    }
  }
}

// Sizes that are computed between launches come before the fused one, in order.
// CHECK-LABEL: nsa.step @sizes
// expected-remark @+1 {{fused 2 launches into 1 with 2 segments}}
nsa.step @sizes(in %a : tensor<?xi32>, in %b : tensor<?x?xi32>,
                out %x : memref<?xi32>, out %y : memref<?x?xi32>) {
  // CHECK-NEXT: arith.constant 0
  // CHECK-NEXT: %[[A0:.*]] = tensor.dim %a
  // CHECK-NEXT: arith.constant 1
  // CHECK-NEXT: %[[B0:.*]] = tensor.dim %b
  // CHECK-NEXT: %[[B1:.*]] = tensor.dim %b
  // CHECK-NEXT: nsa.launch @sizes {
  // CHECK-NEXT:   nsa.segment tile(%[[A0]]) {
  // CHECK:        nsa.segment tile(%[[B0]], %[[B1]]) {
  %c0 = arith.constant 0 : index
  %a0 = tensor.dim %a, %c0 : tensor<?xi32>
  nsa.launch @one {
    nsa.segment tile(%a0) {
      nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
    }
  }
  %c1 = arith.constant 1 : index
  %b0 = tensor.dim %b, %c0 : tensor<?x?xi32>
  %b1 = tensor.dim %b, %c1 : tensor<?x?xi32>
  nsa.launch @two {
    nsa.segment tile(%b0, %b1) {
      nsa.copy %b to %y : tensor<?x?xi32> to memref<?x?xi32>
    }
  }
}

// A step without launches is left alone, and nothing is said of it.
// CHECK-LABEL: nsa.step @nothing
nsa.step @nothing(in %a : tensor<?xi32>, out %x : memref<?xi32>) {
  // CHECK-NEXT: nsa.copy %a to %x
  nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
}

// Where nothing was fused, nothing is said.
// CHECK-LABEL: nsa.step @alone
nsa.step @alone(in %n : index, in %a[%n] : tensor<?xi32>, out %x : memref<?xi32>) {
  nsa.launch @alone_x {
    nsa.segment tile(%n) {
      nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
    }
  }
}
