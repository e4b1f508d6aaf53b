// The text of the values of sparse prefill, and that it survives a round trip,
// also through the generic form.

// RUN: nsa-opt %s --verify-roundtrip | FileCheck %s
// RUN: nsa-opt %s --mlir-print-op-generic | nsa-opt | FileCheck %s

// CHECK-LABEL: nsa.step @window
nsa.step @window(in %bs : index, in %bound : index, in %lens[%bs] : tensor<?xi32>,
                 in %extends[%bs] : tensor<?xi32>, in %pool[%bs] : tensor<?xi64>,
                 in %tokens : tensor<?x?xi32>, in %slots : tensor<?xi64>) {
  // CHECK: %[[LENS:.*]] = nsa.window_lens %lens, %extends window 128 : tensor<?xi32>, tensor<?xi32>
  %gather = nsa.window_lens %lens, %extends window 128
      : tensor<?xi32>, tensor<?xi32>
  // CHECK: %[[FIRST:.*]] = nsa.window_starts %lens, %extends window 128 : tensor<?xi32>, tensor<?xi32>
  %first = nsa.window_starts %lens, %extends window 128
      : tensor<?xi32>, tensor<?xi32>
  %windows = nsa.expansion by %gather within %bound : tensor<?xi32>
  // CHECK: %[[TOKENS:.*]] = nsa.token_ranges %tokens[%pool] from %[[FIRST]] over %{{.*}} : tensor<?x?xi32>, tensor<?xi64>, tensor<?xi32> -> tensor<?xi32>
  %range = nsa.token_ranges %tokens[%pool] from %first over %windows
      : tensor<?x?xi32>, tensor<?xi64>, tensor<?xi32> -> tensor<?xi32>
  // CHECK: nsa.lookup %slots[%[[TOKENS]]] : tensor<?xi64>, tensor<?xi32>
  %ids = nsa.lookup %slots[%range] : tensor<?xi64>, tensor<?xi32>
}

// Static sizes of operands are those of results.
// CHECK-LABEL: nsa.step @static_window
nsa.step @static_window(in %lens : tensor<4xi32>, in %tokens : tensor<9x100xi32>,
                        in %pool : tensor<4xi32>, in %slots : tensor<7xi32>) {
  // CHECK: nsa.window_lens %lens, %lens window 1 : tensor<4xi32>, tensor<4xi32>
  %gather = nsa.window_lens %lens, %lens window 1 : tensor<4xi32>, tensor<4xi32>
  // CHECK: nsa.token_ranges {{.*}} -> tensor<12xi32>
  %three = nsa.expansion by 3
  %range = nsa.token_ranges %tokens[%pool] from %lens over %three
      : tensor<9x100xi32>, tensor<4xi32>, tensor<4xi32> -> tensor<12xi32>
  // CHECK: nsa.lookup %slots[%{{.*}}] : tensor<7xi32>, tensor<12xi32>
  %ids = nsa.lookup %slots[%range] : tensor<7xi32>, tensor<12xi32>
  // CHECK: nsa.window_bases {{.*}} : tensor<5xi32> -> tensor<4xi32>
  %none = arith.constant 0 : index
  %offsets = nsa.cu_seqlens %gather : tensor<4xi32> -> tensor<5xi32>
  %bases = nsa.window_bases %offsets from %none : tensor<5xi32> -> tensor<4xi32>
}

// CHECK-LABEL: nsa.step @workspace
nsa.step @workspace(in %bs : index, in %columns : index,
                    in %lens[%bs] : tensor<?xi32>,
                    in %query_start_loc[%bs + 1] : tensor<?xi32>,
                    in %nine : tensor<9xi32>, in %table : tensor<?x?xi32>) {
  // CHECK: nsa.compressed_bases %bs stride %columns : tensor<?xi32>
  %compressed = nsa.compressed_bases %bs stride %columns : tensor<?xi32>
  %offsets = nsa.cu_seqlens %lens : tensor<?xi32> -> tensor<?xi32>
  // CHECK: nsa.window_bases %{{.*}} from %columns : tensor<?xi32> -> tensor<?xi32>
  %window = nsa.window_bases %offsets from %columns
      : tensor<?xi32> -> tensor<?xi32>
  // CHECK: %[[FIRST:.*]] = nsa.query_rows first %query_start_loc : tensor<?xi32> -> tensor<?xi32>
  %first = nsa.query_rows first %query_start_loc : tensor<?xi32> -> tensor<?xi32>
  // CHECK: nsa.query_rows last %nine : tensor<9xi32> -> tensor<8xi32>
  %last = nsa.query_rows last %nine : tensor<9xi32> -> tensor<8xi32>
  // CHECK: nsa.compressed_ids %table[%[[FIRST]]] columns %columns page_size 64 : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
  %ids = nsa.compressed_ids %table[%first] columns %columns page_size 64
      : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
}

// CHECK-LABEL: nsa.step @combine
nsa.step @combine(in %bs : index, in %queries : index, in %topk : index,
                  in %topk_indices : tensor<?x?xi32>,
                  in %query_start_loc[%bs + 1] : tensor<?xi32>,
                  in %lens[%bs] : tensor<?xi32>, in %gathers[%bs] : tensor<?xi32>,
                  in %compressed[%bs] : tensor<?xi32>,
                  in %window[%bs] : tensor<?xi32>,
                  in %query_pos[%queries] : tensor<?xi32>) {
  // CHECK: nsa.combine_indices topk %topk of %topk_indices : tensor<?x?xi32> queries %queries at %query_start_loc lengths %lens gathers %gathers bases %compressed, %window ratio 4 window 128 : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x?xi32>
  %indexed = nsa.combine_indices topk %topk of %topk_indices : tensor<?x?xi32>
      queries %queries at %query_start_loc lengths %lens gathers %gathers
      bases %compressed, %window ratio 4 window 128
      : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>
      -> tensor<?x?xi32>
  // Without the indices of an indexer, and a width that is known.
  // CHECK: nsa.combine_indices topk 17 queries %queries {{.*}} -> tensor<?x256xi32>
  %positional = nsa.combine_indices topk 17 queries %queries
      at %query_start_loc lengths %lens gathers %gathers
      bases %compressed, %window ratio 128 window 128
      : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>
      -> tensor<?x256xi32>
  // CHECK: nsa.combine_lens topk %topk queries %queries at %query_start_loc lengths %lens ratio 4 window 128 : tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
  %some = nsa.combine_lens topk %topk queries %queries at %query_start_loc
      lengths %lens ratio 4 window 128
      : tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
  // CHECK: nsa.combine_lens topk 0 queries
  %none = nsa.combine_lens topk 0 queries %queries at %query_start_loc
      lengths %lens ratio 1 window 128
      : tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
  // With the queries' positions.
  // CHECK: nsa.combine_indices topk 17 queries %queries at %query_start_loc positions %query_pos : tensor<?xi32> lengths %lens
  %placed = nsa.combine_indices topk 17 queries %queries
      at %query_start_loc positions %query_pos : tensor<?xi32>
      lengths %lens gathers %gathers bases %compressed, %window
      ratio 128 window 128
      : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>
      -> tensor<?x256xi32>
  // CHECK: nsa.combine_lens topk %topk queries %queries at %query_start_loc positions %query_pos : tensor<?xi32> lengths %lens
  %placed_lens = nsa.combine_lens topk %topk queries %queries
      at %query_start_loc positions %query_pos : tensor<?xi32>
      lengths %lens ratio 4 window 128
      : tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
}
