// The decode replay of decode_replay.mlir with each field as a formula: what the
// compiler makes of it is the same.

!table_in = tensor<?x?xi32>
!vector = tensor<?xi32>
!table = tensor<?x?xi32>
!vector_out = memref<?xi32, strided<[?]>>
!table_out = memref<?x?xi32, strided<[?, 1]>>

nsa.step @decode_replay_maps(
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
  %len0 = nsa.map(%r) in (%bs) : !vector {
    %length = nsa.read %seq_lens[%r] : tensor<?xi64>
    %low = arith.trunci %length : i64 to i32
    nsa.yield %low : i32
  }
  %cu0 = nsa.scan %len0 : !vector -> !vector
  %clip0 = nsa.map(%r) in (%bs) : !vector {
    %most = arith.constant 2048 : i32
    %length = nsa.read %len0[%r] : !vector
    %clipped = arith.minsi %length, %most : i32
    nsa.yield %clipped : i32
  }
  %clip_cu0 = nsa.scan %clip0 : !vector -> !vector
  %tab0 = nsa.map(%r, %c) in (%bs, %max_len) : !table {
    %none = arith.constant 0 : i32
    %request = nsa.read %req_pool_indices[%r] : tensor<?xi64>
    %row = arith.index_cast %request : i64 to index
    %slot = nsa.read %req_to_token[%row, %c] else %none : !table_in
    nsa.yield %slot : i32
  }
  %pages0 = affine.apply affine_map<()[s0] -> (s0 ceildiv 64)>()[%max_len]
  %real0 = nsa.map(%r, %c) in (%bs, %pages0) : !table {
    %none = arith.constant 0 : i32
    %page_size = arith.constant 64 : index
    %size = arith.constant 64 : i32
    %column = arith.muli %c, %page_size : index
    %slot = nsa.read %tab0[%r, %column] else %none : !table
    %page = arith.floordivsi %slot, %size : i32
    nsa.yield %page : i32
  }
  nsa.copy %len0 to %b0_cache_seqlens : !vector to !vector_out
  nsa.copy %cu0 to %b0_cu_seqlens_k : !vector to !vector_out
  nsa.copy %clip0 to %b0_nsa_cache_seqlens : !vector to !vector_out
  nsa.copy %clip_cu0 to %b0_nsa_cu_seqlens_k : !vector to !vector_out
  nsa.copy %tab0 to %b0_page_table_1 : !table to !table_out
  nsa.copy %real0 to %b0_real_page_table : !table to !table_out
  // Backend 1.
  %len1 = nsa.map(%r) in (%bs) : !vector {
    %length = nsa.read %seq_lens[%r] : tensor<?xi64>
    %low = arith.trunci %length : i64 to i32
    nsa.yield %low : i32
  }
  %cu1 = nsa.scan %len1 : !vector -> !vector
  %clip1 = nsa.map(%r) in (%bs) : !vector {
    %most = arith.constant 2048 : i32
    %length = nsa.read %len1[%r] : !vector
    %clipped = arith.minsi %length, %most : i32
    nsa.yield %clipped : i32
  }
  %clip_cu1 = nsa.scan %clip1 : !vector -> !vector
  %tab1 = nsa.map(%r, %c) in (%bs, %max_len) : !table {
    %none = arith.constant 0 : i32
    %request = nsa.read %req_pool_indices[%r] : tensor<?xi64>
    %row = arith.index_cast %request : i64 to index
    %slot = nsa.read %req_to_token[%row, %c] else %none : !table_in
    nsa.yield %slot : i32
  }
  %pages1 = affine.apply affine_map<()[s0] -> (s0 ceildiv 64)>()[%max_len]
  %real1 = nsa.map(%r, %c) in (%bs, %pages1) : !table {
    %none = arith.constant 0 : i32
    %page_size = arith.constant 64 : index
    %size = arith.constant 64 : i32
    %column = arith.muli %c, %page_size : index
    %slot = nsa.read %tab1[%r, %column] else %none : !table
    %page = arith.floordivsi %slot, %size : i32
    nsa.yield %page : i32
  }
  nsa.copy %len1 to %b1_cache_seqlens : !vector to !vector_out
  nsa.copy %cu1 to %b1_cu_seqlens_k : !vector to !vector_out
  nsa.copy %clip1 to %b1_nsa_cache_seqlens : !vector to !vector_out
  nsa.copy %clip_cu1 to %b1_nsa_cu_seqlens_k : !vector to !vector_out
  nsa.copy %tab1 to %b1_page_table_1 : !table to !table_out
  nsa.copy %real1 to %b1_real_page_table : !table to !table_out
  // Backend 2.
  %len2 = nsa.map(%r) in (%bs) : !vector {
    %length = nsa.read %seq_lens[%r] : tensor<?xi64>
    %low = arith.trunci %length : i64 to i32
    nsa.yield %low : i32
  }
  %cu2 = nsa.scan %len2 : !vector -> !vector
  %clip2 = nsa.map(%r) in (%bs) : !vector {
    %most = arith.constant 2048 : i32
    %length = nsa.read %len2[%r] : !vector
    %clipped = arith.minsi %length, %most : i32
    nsa.yield %clipped : i32
  }
  %clip_cu2 = nsa.scan %clip2 : !vector -> !vector
  %tab2 = nsa.map(%r, %c) in (%bs, %max_len) : !table {
    %none = arith.constant 0 : i32
    %request = nsa.read %req_pool_indices[%r] : tensor<?xi64>
    %row = arith.index_cast %request : i64 to index
    %slot = nsa.read %req_to_token[%row, %c] else %none : !table_in
    nsa.yield %slot : i32
  }
  %pages2 = affine.apply affine_map<()[s0] -> (s0 ceildiv 64)>()[%max_len]
  %real2 = nsa.map(%r, %c) in (%bs, %pages2) : !table {
    %none = arith.constant 0 : i32
    %page_size = arith.constant 64 : index
    %size = arith.constant 64 : i32
    %column = arith.muli %c, %page_size : index
    %slot = nsa.read %tab2[%r, %column] else %none : !table
    %page = arith.floordivsi %slot, %size : i32
    nsa.yield %page : i32
  }
  nsa.copy %len2 to %b2_cache_seqlens : !vector to !vector_out
  nsa.copy %cu2 to %b2_cu_seqlens_k : !vector to !vector_out
  nsa.copy %clip2 to %b2_nsa_cache_seqlens : !vector to !vector_out
  nsa.copy %clip_cu2 to %b2_nsa_cu_seqlens_k : !vector to !vector_out
  nsa.copy %tab2 to %b2_page_table_1 : !table to !table_out
  nsa.copy %real2 to %b2_real_page_table : !table to !table_out
}
