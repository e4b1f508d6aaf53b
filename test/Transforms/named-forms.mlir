// Named operations as formulas, and formulas that say what a named operation says.

// RUN: nsa-opt %s --nsa-expand-named | FileCheck %s --check-prefix=EXPAND
// RUN: nsa-opt %s --canonicalize --cse --nsa-share-forms --cse | FileCheck %s --check-prefix=SHARE
// RUN: nsa-opt %s --nsa-expand-named --canonicalize --cse | FileCheck %s --check-prefix=CSE

// EXPAND-LABEL: nsa.step @lengths
// EXPAND: %[[LEN:.*]] = nsa.map(%[[R:.*]]) in (%{{.*}}) : tensor<?xi32> {
// EXPAND-NEXT: %[[OLD:.*]] = nsa.read %seq_lens[%[[R]]] : tensor<?xi64>
// EXPAND-NEXT: %[[LOW:.*]] = arith.trunci %[[OLD]] : i64 to i32
// EXPAND-NEXT: %[[PLUS:.*]] = arith.constant 1 : i32
// EXPAND-NEXT: %[[SUM:.*]] = arith.addi %[[LOW]], %[[PLUS]] : i32
// EXPAND-NEXT: nsa.yield %[[SUM]] : i32
// EXPAND: %[[CLIP:.*]] = nsa.map
// EXPAND-NEXT: %[[X:.*]] = nsa.read %[[LEN]]
// EXPAND-NEXT: arith.constant 2048 : i32
// EXPAND-NEXT: arith.minsi %[[X]]
// EXPAND: nsa.scan %[[LEN]] : tensor<?xi32> -> tensor<?xi32>
// EXPAND: nsa.map(%[[B:.*]], %[[C:.*]]) in (%n, %max) : tensor<?x?xi32> {
// EXPAND-NEXT: nsa.read %pool[%[[B]]]
// EXPAND-NEXT: %[[ROW:.*]] = arith.index_cast
// EXPAND-NEXT: %[[NONE:.*]] = arith.constant 0 : i32
// EXPAND-NEXT: nsa.read %r2t[%[[ROW]], %[[C]]] else %[[NONE]]
// EXPAND: arith.constant 64 : index
// EXPAND-NEXT: arith.muli
// EXPAND: arith.floordivsi
// EXPAND: nsa.map({{.*}}) in (%n, 3) : tensor<?x3xi32>
// EXPAND-NOT: nsa.seqlens
nsa.step @lengths(in %n : index, in %max : index, in %seq_lens[%n] : tensor<?xi64>, in %pool[%n] : tensor<?xi64>,
                  in %r2t : tensor<?x?xi32>, out %a : memref<?xi32>, out %b : memref<?xi32>, out %c : memref<?xi32>,
                  out %d : memref<?x?xi32>, out %e : memref<?x?xi32>, out %f : memref<?x3xi32>) {
  %len = nsa.seqlens %seq_lens plus 1 : tensor<?xi64> -> tensor<?xi32>
  %clip = nsa.clip_seqlens %len to 2048 : tensor<?xi32>
  %cu = nsa.cu_seqlens %len : tensor<?xi32> -> tensor<?xi32>
  %tab = nsa.page_table %r2t[%pool] columns %max : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x?xi32>
  %real = nsa.real_page_table %tab page_size 64 : tensor<?x?xi32> -> tensor<?x?xi32>
  %ctx = nsa.context_lens %len columns 3 : tensor<?xi32> -> tensor<?x3xi32>
  nsa.copy %len to %a : tensor<?xi32> to memref<?xi32>
  nsa.copy %clip to %b : tensor<?xi32> to memref<?xi32>
  nsa.copy %cu to %c : tensor<?xi32> to memref<?xi32>
  nsa.copy %tab to %d : tensor<?x?xi32> to memref<?x?xi32>
  nsa.copy %real to %e : tensor<?x?xi32> to memref<?x?xi32>
  nsa.copy %ctx to %f : tensor<?x3xi32> to memref<?x3xi32>
}

// Two backends, one of which writes out what the other one names, its clip
// first: one value for both, in either form. The order of operations in a formula
// is no difference, another constant is.
// SHARE-LABEL: nsa.step @two
// SHARE-NOT: nsa.map
// SHARE: %[[LEN:.*]] = nsa.seqlens %seq_lens plus 0
// SHARE-NOT: nsa.map
// SHARE: %[[CLIP:.*]] = nsa.clip_seqlens %[[LEN]] to 2048
// SHARE: nsa.map
// SHARE-NOT: nsa.map
// SHARE: nsa.copy %[[LEN]] to %a
// SHARE: nsa.copy %[[CLIP]] to %b
// SHARE: nsa.copy %[[LEN]] to %c
// SHARE: nsa.copy %[[CLIP]] to %d
// CSE-LABEL: nsa.step @two
// CSE: %[[LEN:.*]] = nsa.map
// CSE: %[[CLIP:.*]] = nsa.map
// CSE: nsa.copy %[[LEN]] to %a
// CSE: nsa.copy %[[CLIP]] to %b
// CSE: nsa.copy %[[LEN]] to %c
// CSE: nsa.copy %[[CLIP]] to %d
nsa.step @two(in %n : index, in %seq_lens[%n] : tensor<?xi64>, out %a : memref<?xi32>, out %b : memref<?xi32>,
              out %c : memref<?xi32>, out %d : memref<?xi32>, out %e : memref<?xi32>) {
  %l = nsa.map(%r) in (%n) : tensor<?xi32> {
    %x = nsa.read %seq_lens[%r] : tensor<?xi64>
    %y = arith.trunci %x : i64 to i32
    nsa.yield %y : i32
  }
  %k = nsa.map(%r) in (%n) : tensor<?xi32> {
    %limit = arith.constant 2048 : i32
    %x = nsa.read %l[%r] : tensor<?xi32>
    %y = arith.minsi %x, %limit : i32
    nsa.yield %y : i32
  }
  %other = nsa.map(%r) in (%n) : tensor<?xi32> {
    %limit = arith.constant 2047 : i32
    %x = nsa.read %l[%r] : tensor<?xi32>
    %y = arith.minsi %x, %limit : i32
    nsa.yield %y : i32
  }
  %len = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> tensor<?xi32>
  %clip = nsa.clip_seqlens %len to 2048 : tensor<?xi32>
  nsa.copy %len to %a : tensor<?xi32> to memref<?xi32>
  nsa.copy %clip to %b : tensor<?xi32> to memref<?xi32>
  nsa.copy %l to %c : tensor<?xi32> to memref<?xi32>
  nsa.copy %k to %d : tensor<?xi32> to memref<?xi32>
  nsa.copy %other to %e : tensor<?xi32> to memref<?xi32>
}

// Rows of an expansion and dead elements stay what they are.
// EXPAND-LABEL: nsa.step @special
// EXPAND: nsa.expand_seqlens
// EXPAND: nsa.clip_seqlens
// EXPAND: nsa.page_table
nsa.step @special(in %n : index, in %max : index, in %l[%n] : tensor<?xi32>, in %pool[%n] : tensor<?xi64>,
                  in %r2t : tensor<?x?xi32>, out %a : memref<?xi32>, out %b : memref<?x?xi32>) {
  %e = nsa.expansion by 2
  %rows = nsa.expand_seqlens causal %l over %e : tensor<?xi32> -> tensor<?xi32>
  %clip = nsa.clip_seqlens %rows to 7 : tensor<?xi32>
  %tab = nsa.page_table %r2t[%pool] columns %max live %l : tensor<?xi32> : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x?xi32>
  nsa.copy %clip to %a : tensor<?xi32> to memref<?xi32>
  nsa.copy %tab to %b : tensor<?x?xi32> to memref<?x?xi32>
}
