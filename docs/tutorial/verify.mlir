!vector = memref<?xi32>
!table = memref<?x?xi32, strided<[?, 1]>>

nsa.step @verify(in %bs : index, in %max_len : index,
                 in %seq_lens[%bs] : tensor<?xi64>,
                 in %req_pool_indices[%bs] : tensor<?xi64>,
                 in %req_to_token : tensor<?x?xi32>,
                 out %b0_cache_seqlens : !vector, out %b0_cu_seqlens_k : !vector,
                 out %b0_nsa_cache_seqlens : !vector, out %b0_nsa_cu_seqlens_k : !vector,
                 out %b0_page_table_1 : !table, out %b0_real_page_table : !table,
                 out %b1_cache_seqlens : !vector, out %b1_cu_seqlens_k : !vector,
                 out %b1_nsa_cache_seqlens : !vector, out %b1_nsa_cu_seqlens_k : !vector,
                 out %b1_page_table_1 : !table, out %b1_real_page_table : !table) {
  // Backend 0.
  %lens0 = nsa.seqlens %seq_lens plus 4 : tensor<?xi64> -> tensor<?xi32>
  %cu0 = nsa.cu_seqlens %lens0 : tensor<?xi32> -> tensor<?xi32>
  %base0 = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> tensor<?xi32>
  %draft0 = nsa.expansion by 4
  %seen0 = nsa.expand_seqlens following %base0 over %draft0 : tensor<?xi32> -> tensor<?xi32>
  %clipped0 = nsa.clip_seqlens %seen0 to 2048 : tensor<?xi32>
  %clipped_cu0 = nsa.cu_seqlens %clipped0 : tensor<?xi32> -> tensor<?xi32>
  %requests0 = nsa.page_table %req_to_token[%req_pool_indices] columns %max_len
      : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x?xi32>
  %tokens0 = nsa.expand_rows %requests0 over %draft0 : tensor<?x?xi32> -> tensor<?x?xi32>
  %pages0 = nsa.real_page_table %tokens0 page_size 64 : tensor<?x?xi32> -> tensor<?x?xi32>
  nsa.copy %lens0 to %b0_cache_seqlens : tensor<?xi32> to !vector
  nsa.copy %cu0 to %b0_cu_seqlens_k : tensor<?xi32> to !vector
  nsa.copy %clipped0 to %b0_nsa_cache_seqlens : tensor<?xi32> to !vector
  nsa.copy %clipped_cu0 to %b0_nsa_cu_seqlens_k : tensor<?xi32> to !vector
  nsa.copy %tokens0 to %b0_page_table_1 : tensor<?x?xi32> to !table
  nsa.copy %pages0 to %b0_real_page_table : tensor<?x?xi32> to !table

  // Backend 1: the same once more.
  %lens1 = nsa.seqlens %seq_lens plus 4 : tensor<?xi64> -> tensor<?xi32>
  %cu1 = nsa.cu_seqlens %lens1 : tensor<?xi32> -> tensor<?xi32>
  %base1 = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> tensor<?xi32>
  %draft1 = nsa.expansion by 4
  %seen1 = nsa.expand_seqlens following %base1 over %draft1 : tensor<?xi32> -> tensor<?xi32>
  %clipped1 = nsa.clip_seqlens %seen1 to 2048 : tensor<?xi32>
  %clipped_cu1 = nsa.cu_seqlens %clipped1 : tensor<?xi32> -> tensor<?xi32>
  %requests1 = nsa.page_table %req_to_token[%req_pool_indices] columns %max_len
      : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x?xi32>
  %tokens1 = nsa.expand_rows %requests1 over %draft1 : tensor<?x?xi32> -> tensor<?x?xi32>
  %pages1 = nsa.real_page_table %tokens1 page_size 64 : tensor<?x?xi32> -> tensor<?x?xi32>
  nsa.copy %lens1 to %b1_cache_seqlens : tensor<?xi32> to !vector
  nsa.copy %cu1 to %b1_cu_seqlens_k : tensor<?xi32> to !vector
  nsa.copy %clipped1 to %b1_nsa_cache_seqlens : tensor<?xi32> to !vector
  nsa.copy %clipped_cu1 to %b1_nsa_cu_seqlens_k : tensor<?xi32> to !vector
  nsa.copy %tokens1 to %b1_page_table_1 : tensor<?x?xi32> to !table
  nsa.copy %pages1 to %b1_real_page_table : tensor<?x?xi32> to !table
}
