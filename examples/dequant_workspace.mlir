// Sparse prefill attends to compressed rows and to a window of recent rows, which live
// in two caches. Both are dequantised into one workspace: `compressed` and `window` are
// slices of it, and one launch fills them.
nsa.step @dequant_workspace(
    in %compressed_tokens : index, in %window_tokens : index,
    in %compressed_cache : tensor<?x?xi8>,
    in %compressed_ids[%compressed_tokens] : tensor<?xi32>,
    in %window_cache : tensor<?x?xi8>,
    in %window_ids[%window_tokens] : tensor<?xi32>,
    out %compressed : memref<?x512xbf16, strided<[?, 1]>>,
    out %window : memref<?x512xbf16, strided<[?, 1]>>) {
  %0 = nsa.dequant_paged %compressed_cache[%compressed_ids]
      layout #nsa.kv_layout<v4> page_size 64
      : tensor<?x?xi8>, tensor<?xi32> -> tensor<?x512xbf16>
  %1 = nsa.dequant_paged %window_cache[%window_ids]
      layout #nsa.kv_layout<v4> page_size 256
      : tensor<?x?xi8>, tensor<?xi32> -> tensor<?x512xbf16>
  nsa.copy %0 to %compressed
      : tensor<?x512xbf16> to memref<?x512xbf16, strided<[?, 1]>>
  nsa.copy %1 to %window
      : tensor<?x512xbf16> to memref<?x512xbf16, strided<[?, 1]>>
}
