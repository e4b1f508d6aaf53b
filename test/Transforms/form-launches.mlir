// RUN: nsa-opt %s --pass-pipeline='builtin.module(nsa.step(nsa-form-launches))' | FileCheck %s
// RUN: nsa-opt %s --pass-pipeline='builtin.module(nsa.step(nsa-form-launches{per-copy=true}))' \
// RUN:   | FileCheck %s --check-prefix=PERCOPY
// RUN: nsa-opt %s --pass-pipeline='builtin.module(nsa.step(nsa-form-launches{guards=true}))' \
// RUN:   | FileCheck %s --check-prefix=GUARDS

// Each destination is a launch; with `per-copy`, each copy is one. The values
// move in, with all that they need.
// CHECK-LABEL: nsa.step @rows
// PERCOPY-LABEL: nsa.step @rows
// GUARDS: nsa.step @rows
// GUARDS-SAME: attributes {guards, port_values = array<i64: -1, -1, 0, 0, 1>} {
nsa.step @rows(in %n : index, in %a[%n] : tensor<?xi64>,
               out %x : memref<?xi32>, out %y : memref<?xi32>,
               out %cu : memref<?xi32>) {
  // CHECK-NEXT: nsa.launch @rows_x {
  // CHECK-NEXT:   nsa.segment tile(%n) {
  // CHECK-NEXT:     %[[LEN:.*]] = nsa.seqlens %a plus 1
  // CHECK-NEXT:     %[[CLIP:.*]] = nsa.clip_seqlens %[[LEN]] to 2048
  // CHECK-NEXT:     nsa.copy %[[CLIP]] to %x :
  // CHECK-NEXT:   }
  // CHECK-NEXT: }
  // CHECK-NEXT: nsa.launch @rows_y {
  // CHECK-NEXT:   nsa.segment tile(%n) {
  // CHECK-NEXT:     %[[LEN:.*]] = nsa.seqlens %a plus 1
  // CHECK-NEXT:     %[[CLIP:.*]] = nsa.clip_seqlens %[[LEN]] to 2048
  // CHECK-NEXT:     nsa.copy %[[CLIP]] to %y :
  // CHECK-NEXT:   }
  // CHECK-NEXT: }
  // PERCOPY-NEXT: nsa.launch @rows_x {
  // PERCOPY-NEXT:   nsa.segment tile(%n) {
  // PERCOPY-NEXT:     %[[LEN:.*]] = nsa.seqlens %a plus 1
  // PERCOPY-NEXT:     %[[CLIP:.*]] = nsa.clip_seqlens %[[LEN]] to 2048
  // PERCOPY-NEXT:     nsa.copy %[[CLIP]] to %x, %y :
  // PERCOPY-NEXT:   }
  // PERCOPY-NEXT: }
  %len = nsa.seqlens %a plus 1 : tensor<?xi64> -> tensor<?xi32>
  %clip = nsa.clip_seqlens %len to 2048 : tensor<?xi32>
  nsa.copy %clip to %x, %y : tensor<?xi32> to memref<?xi32>, memref<?xi32>

  // A cumulative sum is a scan over the rows of its source.
  // CHECK-NEXT: nsa.launch @rows_cu {
  // CHECK-NEXT:   nsa.segment scan(%n) {
  // CHECK-NEXT:     %[[LEN:.*]] = nsa.seqlens %a plus 1
  // CHECK-NEXT:     %[[CU:.*]] = nsa.cu_seqlens %[[LEN]]
  // CHECK-NEXT:     %[[MORE:.*]] = nsa.seqlens %[[CU]] plus 7
  // CHECK-NEXT:     nsa.copy %[[MORE]] to %cu :
  // CHECK-NEXT:   }
  // CHECK-NEXT: }
  // CHECK-NEXT: }
  // PERCOPY: nsa.launch @rows_cu {
  // PERCOPY-NEXT: nsa.segment scan(%n) {
  %sums = nsa.cu_seqlens %len : tensor<?xi32> -> tensor<?xi32>
  %more = nsa.seqlens %sums plus 7 : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %more to %cu : tensor<?xi32> to memref<?xi32>
}

// Tables have two dimensions. Sizes are computed outside of the launch, from
// ports.
// CHECK-LABEL: nsa.step @tables
nsa.step @tables(in %n : index, in %m : index, in %a[%n] : tensor<?xi64>,
                 in %t : tensor<?x?xi32>, out %x : memref<?x?xi32>,
                 out %y : memref<?x?xi32>) {
  // CHECK-NEXT: nsa.launch @tables_x {
  // CHECK-NEXT:   nsa.segment tile(%n, %m) {
  // CHECK-NEXT:     %[[TAB:.*]] = nsa.page_table %t[%a] columns %m
  // CHECK-NEXT:     nsa.copy %[[TAB]] to %x :
  // CHECK:      %[[PAGES:.*]] = affine.apply #{{.*}}()[%m]
  // CHECK-NEXT: nsa.launch @tables_y {
  // CHECK-NEXT:   nsa.segment tile(%n, %[[PAGES]]) {
  // CHECK-NEXT:     %[[TAB:.*]] = nsa.page_table %t[%a] columns %m
  // CHECK-NEXT:     %[[REAL:.*]] = nsa.real_page_table %[[TAB]] page_size 64
  // CHECK-NEXT:     nsa.copy %[[REAL]] to %y :
  %tab = nsa.page_table %t[%a] columns %m
      : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x?xi32>
  %real = nsa.real_page_table %tab page_size 64 : tensor<?x?xi32> -> tensor<?x?xi32>
  nsa.copy %tab to %x : tensor<?x?xi32> to memref<?x?xi32>
  nsa.copy %real to %y : tensor<?x?xi32> to memref<?x?xi32>
}

// An input is copied as it is: whole, or as much of it as its extents say.
// CHECK-LABEL: nsa.step @inputs
nsa.step @inputs(in %n : index, in %a[%n, ?] : tensor<?x?xi32>,
                 in %b : tensor<4x8xi32>, out %x : memref<?x?xi32>,
                 out %y : memref<?x?xi32>) {
  // CHECK:      %[[COLUMNS:.*]] = tensor.dim %a, %c1
  // CHECK-NEXT: nsa.launch @inputs_x {
  // CHECK-NEXT:   nsa.segment tile(%n, %[[COLUMNS]]) {
  // CHECK-NEXT:     nsa.copy %a to %x :
  // CHECK:      %[[FOUR:.*]] = arith.constant 4 : index
  // CHECK:      %[[EIGHT:.*]] = arith.constant 8 : index
  // CHECK-NEXT: nsa.launch @inputs_y {
  // CHECK-NEXT:   nsa.segment tile(%[[FOUR]], %[[EIGHT]]) {
  // CHECK-NEXT:     nsa.copy %b to %y :
  nsa.copy %a to %x : tensor<?x?xi32> to memref<?x?xi32>
  nsa.copy %b to %y : tensor<4x8xi32> to memref<?x?xi32>
}

// An expansion runs over requests, and for tables over columns.
// CHECK-LABEL: nsa.step @expansion
nsa.step @expansion(in %bs : index, in %m : index, in %a[%bs] : tensor<?xi32>,
                    in %t[%bs, %m] : tensor<?x?xi32>, out %x : memref<?xi32>,
                    out %y : memref<?x?xi32>) {
  // CHECK-NEXT: nsa.launch @expansion_x {
  // CHECK-NEXT:   nsa.segment expand(%bs) {
  // CHECK-NEXT:     %[[FOUR:.*]] = nsa.expansion by 4
  // CHECK-NEXT:     %[[LENS:.*]] = nsa.expand_seqlens causal %a over %[[FOUR]]
  // CHECK-NEXT:     %[[CU:.*]] = nsa.cu_seqlens %[[LENS]]
  // CHECK-NEXT:     nsa.copy %[[CU]] to %x :
  // CHECK:      nsa.launch @expansion_y {
  // CHECK-NEXT:   nsa.segment expand(%bs, %m) {
  // CHECK-NEXT:     %[[FOUR:.*]] = nsa.expansion by 4
  // CHECK-NEXT:     %[[ROWS:.*]] = nsa.expand_rows %t over %[[FOUR]]
  // CHECK-NEXT:     nsa.copy %[[ROWS]] to %y :
  %four = nsa.expansion by 4
  %lens = nsa.expand_seqlens causal %a over %four : tensor<?xi32> -> tensor<?xi32>
  %cu = nsa.cu_seqlens %lens : tensor<?xi32> -> tensor<?xi32>
  %rows = nsa.expand_rows %t over %four : tensor<?x?xi32> -> tensor<?x?xi32>
  nsa.copy %cu to %x : tensor<?xi32> to memref<?xi32>
  nsa.copy %rows to %y : tensor<?x?xi32> to memref<?x?xi32>
}

// Values without a copy are in no launch.
// CHECK-LABEL: nsa.step @dead
nsa.step @dead(in %a : tensor<?xi32>) {
  // CHECK-NEXT: {{^ *}$}}
  %cu = nsa.cu_seqlens %a : tensor<?xi32> -> tensor<?xi32>
}
