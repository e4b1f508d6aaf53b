// The text of every operation, and that it survives a round trip, also through
// the generic form.

// RUN: nsa-opt %s --verify-roundtrip | FileCheck %s
// RUN: nsa-opt %s --mlir-print-op-generic | nsa-opt | FileCheck %s

// CHECK-LABEL: nsa.step @ports(in %n : index,
// CHECK-SAME:    in %bounded[%n] : tensor<?xi64>,
// CHECK-SAME:    in %rows_bounded[%n, ?] : tensor<?x?xi32>,
// CHECK-SAME:    in %free : tensor<?x8xi64>,
// CHECK-SAME:    in %fixed : tensor<4xi32>,
// CHECK-SAME:    out %contiguous : memref<?xi32>,
// CHECK-SAME:    out %strided : memref<?xi32, strided<[?]>>,
// CHECK-SAME:    out %padded : memref<?x?xi32, strided<[?, 1]>>,
// CHECK-SAME:    out %sized : memref<4x8xi32>) {
nsa.step @ports(in %n : index, in %bounded[%n] : tensor<?xi64>,
                in %rows_bounded[%n, ?] : tensor<?x?xi32>,
                in %free : tensor<?x8xi64>, in %fixed : tensor<4xi32>,
                out %contiguous : memref<?xi32>,
                out %strided : memref<?xi32, strided<[?]>>,
                out %padded : memref<?x?xi32, strided<[?, 1]>>,
                out %sized : memref<4x8xi32>) {
  nsa.copy %fixed to %contiguous, %strided
      : tensor<4xi32> to memref<?xi32>, memref<?xi32, strided<[?]>>
  nsa.copy %rows_bounded to %padded, %sized
      : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>, memref<4x8xi32>
}

// An extent may name a port that comes later.
// CHECK-LABEL: nsa.step @later_extent(in %a[%n] : tensor<?xi32>, in %n : index) {
nsa.step @later_extent(in %a[%n] : tensor<?xi32>, in %n : index) {
}

// CHECK-LABEL: nsa.step @no_ports() attributes {guards, nsa.note = "kept"} {
// CHECK-NEXT:  }
nsa.step @no_ports() attributes {guards, nsa.note = "kept"} {
}

// CHECK-LABEL: nsa.step @all_values
nsa.step @all_values(in %n : index, in %lens64 : tensor<?xi64>,
                 in %lens32 : tensor<?xi32>, in %tokens : tensor<?x?xi32>) {
  // CHECK: %[[LEN:.*]] = nsa.seqlens %lens64 plus 0 : tensor<?xi64> -> tensor<?xi32>
  %len = nsa.seqlens %lens64 plus 0 : tensor<?xi64> -> tensor<?xi32>
  // CHECK: nsa.seqlens %lens32 plus -3 : tensor<?xi32> -> tensor<?xi32>
  %less = nsa.seqlens %lens32 plus -3 : tensor<?xi32> -> tensor<?xi32>
  // CHECK: nsa.clip_seqlens %[[LEN]] to 2048 : tensor<?xi32>
  %clip = nsa.clip_seqlens %len to 2048 : tensor<?xi32>
  // CHECK: nsa.cu_seqlens %[[LEN]] : tensor<?xi32> -> tensor<?xi32>
  %cu = nsa.cu_seqlens %len : tensor<?xi32> -> tensor<?xi32>
  // CHECK: %[[TAB:.*]] = nsa.page_table %tokens[%lens64] columns %n : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x?xi32>
  %tab = nsa.page_table %tokens[%lens64] columns %n
      : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x?xi32>
  // CHECK: nsa.page_table %tokens[%lens32] columns 96 : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x96xi32>
  %fix = nsa.page_table %tokens[%lens32] columns 96
      : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x96xi32>
  // CHECK: nsa.real_page_table %[[TAB]] page_size 64 : tensor<?x?xi32> -> tensor<?x?xi32>
  %real = nsa.real_page_table %tab page_size 64
      : tensor<?x?xi32> -> tensor<?x?xi32>
}

// Static sizes of operands are those of results.
// CHECK-LABEL: nsa.step @static_values
nsa.step @static_values(in %lens64 : tensor<4xi64>, in %tokens : tensor<9x100xi32>) {
  // CHECK: %[[LEN:.*]] = nsa.seqlens %lens64 plus 0 : tensor<4xi64> -> tensor<4xi32>
  %len = nsa.seqlens %lens64 plus 0 : tensor<4xi64> -> tensor<4xi32>
  // CHECK: nsa.cu_seqlens %[[LEN]] : tensor<4xi32> -> tensor<5xi32>
  %cu = nsa.cu_seqlens %len : tensor<4xi32> -> tensor<5xi32>
  // CHECK: %[[TAB:.*]] = nsa.page_table %tokens[%lens64] columns 96 : tensor<9x100xi32>, tensor<4xi64> -> tensor<4x96xi32>
  %tab = nsa.page_table %tokens[%lens64] columns 96
      : tensor<9x100xi32>, tensor<4xi64> -> tensor<4x96xi32>
  // CHECK: nsa.real_page_table %[[TAB]] page_size 10 : tensor<4x96xi32> -> tensor<4x10xi32>
  %real = nsa.real_page_table %tab page_size 10
      : tensor<4x96xi32> -> tensor<4x10xi32>
}

// CHECK-LABEL: nsa.step @expansions
nsa.step @expansions(in %bs : index, in %bound : index,
                     in %lens[%bs] : tensor<?xi32>, in %extend[%bs] : tensor<?xi64>,
                     in %tokens : tensor<?x?xi32>) {
  // CHECK: %[[FOUR:.*]] = nsa.expansion by 4
  %four = nsa.expansion by 4
  // CHECK: nsa.expansion by 4 padded to %bound
  %padded = nsa.expansion by 4 padded to %bound
  // CHECK: %[[RAGGED:.*]] = nsa.expansion by %extend within %bound : tensor<?xi64>
  %ragged = nsa.expansion by %extend within %bound : tensor<?xi64>
  // CHECK: nsa.expansion by %extend padded to %bound {nsa.note = "kept"} : tensor<?xi64>
  %all = nsa.expansion by %extend padded to %bound {nsa.note = "kept"} : tensor<?xi64>
  // CHECK: nsa.expand_seqlens causal %lens over %[[RAGGED]] : tensor<?xi32> -> tensor<?xi32>
  %causal = nsa.expand_seqlens causal %lens over %ragged
      : tensor<?xi32> -> tensor<?xi32>
  // CHECK: nsa.expand_seqlens broadcast %lens over %[[FOUR]]
  %broadcast = nsa.expand_seqlens broadcast %lens over %four
      : tensor<?xi32> -> tensor<?xi32>
  // CHECK: nsa.expand_seqlens following %lens over %[[FOUR]]
  %following = nsa.expand_seqlens following %lens over %four
      : tensor<?xi32> -> tensor<?xi32>
  // CHECK: %[[LIVE:.*]] = nsa.page_table %tokens[%extend] columns %bound live %lens : tensor<?xi32> : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x?xi32>
  %live = nsa.page_table %tokens[%extend] columns %bound live %lens : tensor<?xi32>
      : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x?xi32>
  // CHECK: nsa.expand_rows %[[LIVE]] over %[[RAGGED]] : tensor<?x?xi32> -> tensor<?x?xi32>
  %rows = nsa.expand_rows %live over %ragged : tensor<?x?xi32> -> tensor<?x?xi32>
  // CHECK: nsa.total_rows %[[RAGGED]] : tensor<1xi32>
  %total = nsa.total_rows %ragged : tensor<1xi32>
  // CHECK: nsa.context_lens %lens columns 4 : tensor<?xi32> -> tensor<?x4xi32>
  %ctx = nsa.context_lens %lens columns 4 : tensor<?xi32> -> tensor<?x4xi32>
}

// A constant number of rows times static requests is static.
// CHECK-LABEL: nsa.step @static_expansion
nsa.step @static_expansion(in %lens : tensor<3xi32>, in %tokens : tensor<3x8xi32>) {
  %four = nsa.expansion by 4
  // CHECK: nsa.expand_seqlens causal %lens over %{{.*}} : tensor<3xi32> -> tensor<12xi32>
  %exp = nsa.expand_seqlens causal %lens over %four : tensor<3xi32> -> tensor<12xi32>
  // CHECK: nsa.expand_rows %tokens over %{{.*}} : tensor<3x8xi32> -> tensor<12x8xi32>
  %rows = nsa.expand_rows %tokens over %four : tensor<3x8xi32> -> tensor<12x8xi32>
}

// CHECK-LABEL: nsa.step @copies
nsa.step @copies(in %a : tensor<?xi32>, in %b : tensor<4x8xi32>,
                 out %x : memref<?xi32>, out %y : memref<?xi32, strided<[?]>>,
                 out %z : memref<4x9xi32>) {
  // CHECK: nsa.copy %a to %x, %y : tensor<?xi32> to memref<?xi32>, memref<?xi32, strided<[?]>>
  nsa.copy %a to %x, %y
      : tensor<?xi32> to memref<?xi32>, memref<?xi32, strided<[?]>>
  // CHECK: nsa.copy %b to %z : tensor<4x8xi32> to memref<4x9xi32>
  nsa.copy %b to %z : tensor<4x8xi32> to memref<4x9xi32>
}

// CHECK-LABEL: nsa.step @launches
nsa.step @launches(in %n : index, in %m : index, in %a[%n] : tensor<?xi32>,
                   in %b[%n, %m] : tensor<?x?xi32>, out %x : memref<?xi32>,
                   out %y : memref<?xi32>, out %z : memref<?x?xi32>) {
  // CHECK:      nsa.launch @first {
  // CHECK-NEXT:   nsa.segment scan(%n) {
  // CHECK-NEXT:     %[[CU:.*]] = nsa.cu_seqlens %a
  // CHECK-NEXT:     nsa.copy %[[CU]] to %x
  // CHECK-NEXT:   }
  // CHECK-NEXT:   nsa.segment tile(%n, %m) {
  // CHECK-NEXT:     nsa.copy %b to %z
  // CHECK-NEXT:   } {nsa.note = "kept"}
  // CHECK-NEXT: }
  nsa.launch @first {
    nsa.segment scan(%n) {
      %cu = nsa.cu_seqlens %a : tensor<?xi32> -> tensor<?xi32>
      nsa.copy %cu to %x : tensor<?xi32> to memref<?xi32>
    }
    nsa.segment tile(%n, %m) {
      nsa.copy %b to %z : tensor<?x?xi32> to memref<?x?xi32>
    } {nsa.note = "kept"}
  }
  // CHECK:      nsa.launch @second {
  // CHECK-NEXT:   nsa.segment tile(%n) {
  nsa.launch @second {
    nsa.segment tile(%n) {
      nsa.copy %a to %y : tensor<?xi32> to memref<?xi32>
    }
  }
}
