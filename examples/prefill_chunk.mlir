// What a prefill chunk of DeepSeek V4 needs once, for all of its layers, before
// `flash_mla_sparse_fwd`: the cached tokens to gather into each kind of layer's
// workspace, where requests begin there, and which rows the queries attend to in
// layers without an indexer. docs/SparsePrefill.md has a picture.
//
// Everything depends on the chunk alone, so it is one launch.

#bases = affine_map<()[requests, columns] -> (requests * columns)>

nsa.step @prefill_chunk(
    in %bs : index, in %queries : index, in %window_bound : index,
    in %c4_columns : index, in %c128_columns : index,
    in %seq_lens[%bs] : tensor<?xi32>,
    in %extend_seq_lens[%bs] : tensor<?xi32>,
    in %req_pool_indices[%bs] : tensor<?xi64>,
    in %query_start_loc[%bs + 1] : tensor<?xi32>,
    in %req_to_token : tensor<?x?xi32>,
    in %full_to_swa : tensor<?xi64>,
    in %c4_page_table : tensor<?x?xi32>,
    in %c128_page_indices : tensor<?x?xi32>,
    // Every layer: the window's tokens.
    out %swa_ids : memref<?xi32>,
    out %swa_first : memref<?xi32>,
    out %swa_lens : memref<?xi32>,
    out %swa_offsets : memref<?xi32>,
    // Layers with windows only.
    out %c0_indices : memref<?x?xi32, strided<[?, 1]>>,
    out %c0_lens : memref<?xi32>,
    // Layers with an indexer: what their own step needs.
    out %c4_ids : memref<?x?xi32, strided<[?, 1]>>,
    out %c4_compressed_base : memref<?xi32>,
    out %c4_swa_base : memref<?xi32>,
    // Layers of ratio 128, which attend to all compressed tokens before them.
    out %c128_ids : memref<?x?xi32, strided<[?, 1]>>,
    out %c128_indices : memref<?x?xi32, strided<[?, 1]>>,
    out %c128_lens : memref<?xi32>) {
  // The window.
  %gather = nsa.window_lens %seq_lens, %extend_seq_lens window 128
      : tensor<?xi32>, tensor<?xi32>
  %first = nsa.window_starts %seq_lens, %extend_seq_lens window 128
      : tensor<?xi32>, tensor<?xi32>
  %offsets = nsa.cu_seqlens %gather : tensor<?xi32> -> tensor<?xi32>
  %windows = nsa.expansion by %gather within %window_bound : tensor<?xi32>
  %tokens = nsa.token_ranges %req_to_token[%req_pool_indices] from %first
      over %windows
      : tensor<?x?xi32>, tensor<?xi64>, tensor<?xi32> -> tensor<?xi32>
  %ids = nsa.lookup %full_to_swa[%tokens] : tensor<?xi64>, tensor<?xi32>
  nsa.copy %ids to %swa_ids : tensor<?xi32> to memref<?xi32>
  nsa.copy %first to %swa_first : tensor<?xi32> to memref<?xi32>
  nsa.copy %gather to %swa_lens : tensor<?xi32> to memref<?xi32>
  nsa.copy %offsets to %swa_offsets : tensor<?xi32> to memref<?xi32>

  // Windows only: the workspace has no other rows.
  %none = arith.constant 0 : index
  %c0_compressed = nsa.compressed_bases %bs stride %none : tensor<?xi32>
  %c0_window = nsa.window_bases %offsets from %none
      : tensor<?xi32> -> tensor<?xi32>
  %c0 = nsa.combine_indices topk 0 queries %queries at %query_start_loc
      lengths %seq_lens gathers %gather bases %c0_compressed, %c0_window
      ratio 1 window 128
      : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>
      -> tensor<?x128xi32>
  %c0_len = nsa.combine_lens topk 0 queries %queries at %query_start_loc
      lengths %seq_lens ratio 1 window 128
      : tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
  nsa.copy %c0 to %c0_indices
      : tensor<?x128xi32> to memref<?x?xi32, strided<[?, 1]>>
  nsa.copy %c0_len to %c0_lens : tensor<?xi32> to memref<?xi32>

  // Ratio 4: pages of 64 compressed tokens.
  %first_query = nsa.query_rows first %query_start_loc
      : tensor<?xi32> -> tensor<?xi32>
  %c4 = nsa.compressed_ids %c4_page_table[%first_query] columns %c4_columns
      page_size 64 : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
  %c4_rows = affine.apply #bases()[%bs, %c4_columns]
  %c4_compressed = nsa.compressed_bases %bs stride %c4_columns : tensor<?xi32>
  %c4_window = nsa.window_bases %offsets from %c4_rows
      : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %c4 to %c4_ids : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
  nsa.copy %c4_compressed to %c4_compressed_base : tensor<?xi32> to memref<?xi32>
  nsa.copy %c4_window to %c4_swa_base : tensor<?xi32> to memref<?xi32>

  // Ratio 128: the table has ids.
  %last_query = nsa.query_rows last %query_start_loc
      : tensor<?xi32> -> tensor<?xi32>
  %c128 = nsa.compressed_ids %c128_page_indices[%last_query]
      columns %c128_columns page_size 1
      : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
  %c128_rows = affine.apply #bases()[%bs, %c128_columns]
  %c128_compressed = nsa.compressed_bases %bs stride %c128_columns
      : tensor<?xi32>
  %c128_window = nsa.window_bases %offsets from %c128_rows
      : tensor<?xi32> -> tensor<?xi32>
  %c128_index = nsa.combine_indices topk %c128_columns queries %queries
      at %query_start_loc lengths %seq_lens gathers %gather
      bases %c128_compressed, %c128_window ratio 128 window 128
      : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>
      -> tensor<?x?xi32>
  %c128_len = nsa.combine_lens topk %c128_columns queries %queries
      at %query_start_loc lengths %seq_lens ratio 128 window 128
      : tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
  nsa.copy %c128 to %c128_ids
      : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
  nsa.copy %c128_index to %c128_indices
      : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
  nsa.copy %c128_len to %c128_lens : tensor<?xi32> to memref<?xi32>
}
