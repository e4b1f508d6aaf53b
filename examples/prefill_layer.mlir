// What a layer with an indexer needs before `flash_mla_sparse_fwd`, from what
// prefill_chunk.mlir left: its compressed tokens and its window's tokens,
// dequantised into the two parts of one workspace, and the rows of the workspace
// that each query attends to. Three values that do not depend on each other, so
// one launch.

nsa.step @prefill_layer(
    in %bs : index, in %queries : index, in %topk : index,
    in %compressed_tokens : index, in %window_tokens : index,
    in %compressed_cache : tensor<?x?xi8>,
    in %compressed_ids[%compressed_tokens] : tensor<?xi32>,
    in %swa_cache : tensor<?x?xi8>,
    in %swa_ids[%window_tokens] : tensor<?xi32>,
    in %topk_indices : tensor<?x?xi32>,
    in %query_start_loc[%bs + 1] : tensor<?xi32>,
    in %seq_lens[%bs] : tensor<?xi32>,
    in %gather_lens[%bs] : tensor<?xi32>,
    in %compressed_base[%bs] : tensor<?xi32>,
    in %swa_base[%bs] : tensor<?xi32>,
    out %compressed_kv : memref<?x?xbf16, strided<[?, 1]>>,
    out %swa_kv : memref<?x?xbf16, strided<[?, 1]>>,
    out %indices : memref<?x?xi32, strided<[?, 1]>>,
    out %lens : memref<?xi32>) {
  %compressed = nsa.dequant_paged %compressed_cache[%compressed_ids]
      layout #nsa.kv_layout<v4> page_size 64
      : tensor<?x?xi8>, tensor<?xi32> -> tensor<?x512xbf16>
  %window = nsa.dequant_paged %swa_cache[%swa_ids]
      layout #nsa.kv_layout<v4> page_size 256
      : tensor<?x?xi8>, tensor<?xi32> -> tensor<?x512xbf16>
  %index = nsa.combine_indices topk %topk of %topk_indices : tensor<?x?xi32>
      queries %queries at %query_start_loc lengths %seq_lens
      gathers %gather_lens bases %compressed_base, %swa_base ratio 4 window 128
      : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>
      -> tensor<?x?xi32>
  %len = nsa.combine_lens topk %topk queries %queries at %query_start_loc
      lengths %seq_lens ratio 4 window 128
      : tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
  nsa.copy %compressed to %compressed_kv
      : tensor<?x512xbf16> to memref<?x?xbf16, strided<[?, 1]>>
  nsa.copy %window to %swa_kv
      : tensor<?x512xbf16> to memref<?x?xbf16, strided<[?, 1]>>
  nsa.copy %index to %indices
      : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
  nsa.copy %len to %lens : tensor<?xi32> to memref<?xi32>
}
