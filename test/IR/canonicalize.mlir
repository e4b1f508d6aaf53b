// Folders and canonical forms.

// RUN: nsa-opt %s --canonicalize | FileCheck %s

// Adding nothing to lengths that are int32 already is nothing.
// CHECK-LABEL: nsa.step @seqlens_plus_zero
nsa.step @seqlens_plus_zero(in %a : tensor<?xi32>, out %x : memref<?xi32>) {
  // CHECK-NEXT: nsa.copy %a to %x
  %len = nsa.seqlens %a plus 0 : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %len to %x : tensor<?xi32> to memref<?xi32>
}

// From int64 it truncates.
// CHECK-LABEL: nsa.step @seqlens_truncates
nsa.step @seqlens_truncates(in %a : tensor<?xi64>, out %x : memref<?xi32>) {
  // CHECK-NEXT: %[[LEN:.*]] = nsa.seqlens %a plus 0
  // CHECK-NEXT: nsa.copy %[[LEN]] to %x
  %len = nsa.seqlens %a plus 0 : tensor<?xi64> -> tensor<?xi32>
  nsa.copy %len to %x : tensor<?xi32> to memref<?xi32>
}

// Sums of constants wrap like the sums at run time.
// CHECK-LABEL: nsa.step @seqlens_nested
nsa.step @seqlens_nested(in %a : tensor<?xi64>, out %x : memref<?xi32>,
                         out %y : memref<?xi32>) {
  // CHECK-NEXT: %[[SUM:.*]] = nsa.seqlens %a plus 5 : tensor<?xi64> -> tensor<?xi32>
  // CHECK-NEXT: %[[WRAPPED:.*]] = nsa.seqlens %a plus -2147483648 : tensor<?xi64> -> tensor<?xi32>
  // CHECK-NEXT: nsa.copy %[[SUM]] to %x
  // CHECK-NEXT: nsa.copy %[[WRAPPED]] to %y
  %two = nsa.seqlens %a plus 2 : tensor<?xi64> -> tensor<?xi32>
  %five = nsa.seqlens %two plus 3 : tensor<?xi32> -> tensor<?xi32>
  %one = nsa.seqlens %a plus 1 : tensor<?xi64> -> tensor<?xi32>
  %wrapped = nsa.seqlens %one plus 2147483647 : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %five to %x : tensor<?xi32> to memref<?xi32>
  nsa.copy %wrapped to %y : tensor<?xi32> to memref<?xi32>
}

// Constants that cancel leave the array itself.
// CHECK-LABEL: nsa.step @seqlens_cancel
nsa.step @seqlens_cancel(in %a : tensor<?xi32>, out %x : memref<?xi32>) {
  // CHECK-NEXT: nsa.copy %a to %x
  %more = nsa.seqlens %a plus 4 : tensor<?xi32> -> tensor<?xi32>
  %same = nsa.seqlens %more plus -4 : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %same to %x : tensor<?xi32> to memref<?xi32>
}

// The smaller of two limits counts, whichever comes first.
// CHECK-LABEL: nsa.step @clip_nested
nsa.step @clip_nested(in %a : tensor<?xi32>, out %x : memref<?xi32>,
                      out %y : memref<?xi32>) {
  // CHECK-NEXT: %[[X:.*]] = nsa.clip_seqlens %a to 100
  // CHECK-NEXT: %[[Y:.*]] = nsa.clip_seqlens %a to 50
  // CHECK-NEXT: nsa.copy %[[X]] to %x
  // CHECK-NEXT: nsa.copy %[[Y]] to %y
  %a100 = nsa.clip_seqlens %a to 100 : tensor<?xi32>
  %a100_200 = nsa.clip_seqlens %a100 to 200 : tensor<?xi32>
  %a100_50 = nsa.clip_seqlens %a100 to 50 : tensor<?xi32>
  nsa.copy %a100_200 to %x : tensor<?xi32> to memref<?xi32>
  nsa.copy %a100_50 to %y : tensor<?xi32> to memref<?xi32>
}

// No int32 is larger than the largest.
// CHECK-LABEL: nsa.step @clip_nothing
nsa.step @clip_nothing(in %a : tensor<?xi32>, out %x : memref<?xi32>,
                       out %y : memref<?xi32>) {
  // CHECK-NEXT: %[[Y:.*]] = nsa.clip_seqlens %a to 2147483646
  // CHECK-NEXT: nsa.copy %a to %x
  // CHECK-NEXT: nsa.copy %[[Y]] to %y
  %same = nsa.clip_seqlens %a to 2147483647 : tensor<?xi32>
  %clip = nsa.clip_seqlens %a to 2147483646 : tensor<?xi32>
  nsa.copy %same to %x : tensor<?xi32> to memref<?xi32>
  nsa.copy %clip to %y : tensor<?xi32> to memref<?xi32>
}

// Pages of one token are tokens.
// CHECK-LABEL: nsa.step @pages_of_one
nsa.step @pages_of_one(in %a : tensor<?x?xi32>, out %x : memref<?x?xi32>) {
  // CHECK-NEXT: nsa.copy %a to %x
  %real = nsa.real_page_table %a page_size 1 : tensor<?x?xi32> -> tensor<?x?xi32>
  nsa.copy %real to %x : tensor<?x?xi32> to memref<?x?xi32>
}

// Pages of pages are larger pages.
// CHECK-LABEL: nsa.step @pages_nested
nsa.step @pages_nested(in %a : tensor<?x?xi32>, in %b : tensor<4x100xi32>,
                       out %x : memref<?x?xi32>, out %y : memref<?x?xi32>) {
  // CHECK-NEXT: %[[X:.*]] = nsa.real_page_table %a page_size 256 : tensor<?x?xi32> -> tensor<?x?xi32>
  // CHECK-NEXT: %[[Y:.*]] = nsa.real_page_table %b page_size 21 : tensor<4x100xi32> -> tensor<4x5xi32>
  // CHECK-NEXT: nsa.copy %[[X]] to %x
  // CHECK-NEXT: nsa.copy %[[Y]] to %y
  %a4 = nsa.real_page_table %a page_size 4 : tensor<?x?xi32> -> tensor<?x?xi32>
  %a256 = nsa.real_page_table %a4 page_size 64 : tensor<?x?xi32> -> tensor<?x?xi32>
  %b3 = nsa.real_page_table %b page_size 3 : tensor<4x100xi32> -> tensor<4x34xi32>
  %b21 = nsa.real_page_table %b3 page_size 7 : tensor<4x34xi32> -> tensor<4x5xi32>
  nsa.copy %a256 to %x : tensor<?x?xi32> to memref<?x?xi32>
  nsa.copy %b21 to %y : tensor<4x5xi32> to memref<?x?xi32>
}

// Pages are picked before rows are repeated, so that a table and its pages are
// expanded together.
// CHECK-LABEL: nsa.step @pages_of_rows
nsa.step @pages_of_rows(in %a : tensor<?x?xi32>, out %x : memref<?x?xi32>) {
  // CHECK-NEXT: %[[FOUR:.*]] = nsa.expansion by 4
  // CHECK-NEXT: %[[PAGES:.*]] = nsa.real_page_table %a page_size 64
  // CHECK-NEXT: %[[ROWS:.*]] = nsa.expand_rows %[[PAGES]] over %[[FOUR]]
  // CHECK-NEXT: nsa.copy %[[ROWS]] to %x
  %four = nsa.expansion by 4
  %rows = nsa.expand_rows %a over %four : tensor<?x?xi32> -> tensor<?x?xi32>
  %real = nsa.real_page_table %rows page_size 64 : tensor<?x?xi32> -> tensor<?x?xi32>
  nsa.copy %real to %x : tensor<?x?xi32> to memref<?x?xi32>
}

// One row a request: rows are requests. A causal length is 0 or more, so it is
// not the request's.
// CHECK-LABEL: nsa.step @rows_are_requests
nsa.step @rows_are_requests(in %a : tensor<?xi32>, in %t : tensor<?x?xi32>,
                            out %w : memref<?xi32>, out %x : memref<?xi32>,
                            out %y : memref<?xi32>, out %z : memref<?x?xi32>) {
  // CHECK-NEXT: %[[ONE:.*]] = nsa.expansion by 1
  // CHECK-NEXT: %[[CAUSAL:.*]] = nsa.expand_seqlens causal %a over %[[ONE]]
  // CHECK-NEXT: %[[NEXT:.*]] = nsa.seqlens %a plus 1
  // CHECK-NEXT: nsa.copy %[[CAUSAL]] to %w
  // CHECK-NEXT: nsa.copy %a to %x
  // CHECK-NEXT: nsa.copy %[[NEXT]] to %y
  // CHECK-NEXT: nsa.copy %t to %z
  // CHECK-NEXT: }
  %one = nsa.expansion by 1
  %causal = nsa.expand_seqlens causal %a over %one : tensor<?xi32> -> tensor<?xi32>
  %same = nsa.expand_seqlens broadcast %a over %one : tensor<?xi32> -> tensor<?xi32>
  %next = nsa.expand_seqlens following %a over %one : tensor<?xi32> -> tensor<?xi32>
  %rows = nsa.expand_rows %t over %one : tensor<?x?xi32> -> tensor<?x?xi32>
  nsa.copy %causal to %w : tensor<?xi32> to memref<?xi32>
  nsa.copy %same to %x : tensor<?xi32> to memref<?xi32>
  nsa.copy %next to %y : tensor<?xi32> to memref<?xi32>
  nsa.copy %rows to %z : tensor<?x?xi32> to memref<?x?xi32>
}

// With padding there are rows past the requests.
// CHECK-LABEL: nsa.step @padded_rows
nsa.step @padded_rows(in %bound : index, in %a : tensor<?xi32>, in %t : tensor<?x?xi32>,
                      out %x : memref<?xi32>, out %y : memref<?xi32>,
                      out %z : memref<?x?xi32>) {
  // CHECK: nsa.expand_seqlens broadcast
  // CHECK: nsa.expand_seqlens following
  // CHECK: nsa.expand_rows
  %one = nsa.expansion by 1 padded to %bound
  %same = nsa.expand_seqlens broadcast %a over %one : tensor<?xi32> -> tensor<?xi32>
  %next = nsa.expand_seqlens following %a over %one : tensor<?xi32> -> tensor<?xi32>
  %rows = nsa.expand_rows %t over %one : tensor<?x?xi32> -> tensor<?x?xi32>
  nsa.copy %same to %x : tensor<?xi32> to memref<?xi32>
  nsa.copy %next to %y : tensor<?xi32> to memref<?xi32>
  nsa.copy %rows to %z : tensor<?x?xi32> to memref<?x?xi32>
}

// Values that nobody copies vanish; copies stay.
// CHECK-LABEL: nsa.step @dead
nsa.step @dead(in %n : index, in %a : tensor<?xi32>, in %t : tensor<?x?xi32>,
               out %x : memref<?xi32>) {
  // CHECK-NEXT: nsa.copy %a to %x
  // CHECK-NEXT: }
  %cu = nsa.cu_seqlens %a : tensor<?xi32> -> tensor<?xi32>
  %tab = nsa.page_table %t[%a] columns %n
      : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
  nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
}
