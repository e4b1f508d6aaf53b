// One decode replay for three attention backends: six fields each, 18 copies.
//
// Each backend states all that it needs, as if it were alone; what the three
// have in common is for the compiler to find.

!table_in = tensor<?x?xi32>
!vector = tensor<?xi32>
!table = tensor<?x?xi32>
!vector_out = memref<?xi32, strided<[?]>>
!table_out = memref<?x?xi32, strided<[?, 1]>>

nsa.step @decode_replay(
    in %bs : index, in %max_len : index,
    in %seq_lens[%bs] : tensor<?xi64>,
    in %req_pool_indices[%bs] : tensor<?xi64>,
    in %req_to_token : !table_in,
    out %b0_cache_seqlens : !vector_out,
    out %b0_cu_seqlens_k : !vector_out,
    out %b0_nsa_cache_seqlens : !vector_out,
    out %b0_nsa_cu_seqlens_k : !vector_out,
    out %b0_page_table_1 : !table_out,
    out %b0_real_page_table : !table_out,
    out %b1_cache_seqlens : !vector_out,
    out %b1_cu_seqlens_k : !vector_out,
    out %b1_nsa_cache_seqlens : !vector_out,
    out %b1_nsa_cu_seqlens_k : !vector_out,
    out %b1_page_table_1 : !table_out,
    out %b1_real_page_table : !table_out,
    out %b2_cache_seqlens : !vector_out,
    out %b2_cu_seqlens_k : !vector_out,
    out %b2_nsa_cache_seqlens : !vector_out,
    out %b2_nsa_cu_seqlens_k : !vector_out,
    out %b2_page_table_1 : !table_out,
    out %b2_real_page_table : !table_out) {
  // Backend 0.
  %len0 = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> !vector
  %cu0 = nsa.cu_seqlens %len0 : !vector -> !vector
  %clip0 = nsa.clip_seqlens %len0 to 2048 : !vector
  %clip_cu0 = nsa.cu_seqlens %clip0 : !vector -> !vector
  %tab0 = nsa.page_table %req_to_token[%req_pool_indices] columns %max_len
      : !table_in, tensor<?xi64> -> !table
  %real0 = nsa.real_page_table %tab0 page_size 64 : !table -> !table
  nsa.copy %len0 to %b0_cache_seqlens : !vector to !vector_out
  nsa.copy %cu0 to %b0_cu_seqlens_k : !vector to !vector_out
  nsa.copy %clip0 to %b0_nsa_cache_seqlens : !vector to !vector_out
  nsa.copy %clip_cu0 to %b0_nsa_cu_seqlens_k : !vector to !vector_out
  nsa.copy %tab0 to %b0_page_table_1 : !table to !table_out
  nsa.copy %real0 to %b0_real_page_table : !table to !table_out

  // Backend 1.
  %len1 = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> !vector
  %cu1 = nsa.cu_seqlens %len1 : !vector -> !vector
  %clip1 = nsa.clip_seqlens %len1 to 2048 : !vector
  %clip_cu1 = nsa.cu_seqlens %clip1 : !vector -> !vector
  %tab1 = nsa.page_table %req_to_token[%req_pool_indices] columns %max_len
      : !table_in, tensor<?xi64> -> !table
  %real1 = nsa.real_page_table %tab1 page_size 64 : !table -> !table
  nsa.copy %len1 to %b1_cache_seqlens : !vector to !vector_out
  nsa.copy %cu1 to %b1_cu_seqlens_k : !vector to !vector_out
  nsa.copy %clip1 to %b1_nsa_cache_seqlens : !vector to !vector_out
  nsa.copy %clip_cu1 to %b1_nsa_cu_seqlens_k : !vector to !vector_out
  nsa.copy %tab1 to %b1_page_table_1 : !table to !table_out
  nsa.copy %real1 to %b1_real_page_table : !table to !table_out

  // Backend 2.
  %len2 = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> !vector
  %cu2 = nsa.cu_seqlens %len2 : !vector -> !vector
  %clip2 = nsa.clip_seqlens %len2 to 2048 : !vector
  %clip_cu2 = nsa.cu_seqlens %clip2 : !vector -> !vector
  %tab2 = nsa.page_table %req_to_token[%req_pool_indices] columns %max_len
      : !table_in, tensor<?xi64> -> !table
  %real2 = nsa.real_page_table %tab2 page_size 64 : !table -> !table
  nsa.copy %len2 to %b2_cache_seqlens : !vector to !vector_out
  nsa.copy %cu2 to %b2_cu_seqlens_k : !vector to !vector_out
  nsa.copy %clip2 to %b2_nsa_cache_seqlens : !vector to !vector_out
  nsa.copy %clip_cu2 to %b2_nsa_cu_seqlens_k : !vector to !vector_out
  nsa.copy %tab2 to %b2_page_table_1 : !table to !table_out
  nsa.copy %real2 to %b2_real_page_table : !table to !table_out
}
