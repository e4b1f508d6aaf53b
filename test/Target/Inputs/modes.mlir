// Steps of the other modes, whose rows are not requests, and other page sizes.

!vector = tensor<?xi32>
!table = tensor<?x?xi32>
!vector_out = memref<?xi32, strided<[?]>>
!table_out = memref<?x?xi32, strided<[?, 1]>>

// Every request has four rows.
nsa.step @target_verify(in %bs : index, in %max_len : index,
                        in %seq_lens[%bs] : tensor<?xi64>,
                        in %pool[%bs] : tensor<?xi64>, in %tokens : !table,
                        out %lens : !vector_out, out %expanded : !vector_out,
                        out %cu : !vector_out, out %pages_1 : !table_out,
                        out %pages_64 : !table_out, out %ctx : memref<?x4xi32>) {
  %len = nsa.seqlens %seq_lens plus 4 : tensor<?xi64> -> !vector
  %short = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> !vector
  %rows = nsa.expansion by 4
  %exp = nsa.expand_seqlens following %short over %rows : !vector -> !vector
  %clip = nsa.clip_seqlens %exp to 2048 : !vector
  %sums = nsa.cu_seqlens %clip : !vector -> !vector
  %tab = nsa.page_table %tokens[%pool] columns %max_len live %len : !vector
      : !table, tensor<?xi64> -> !table
  %repeated = nsa.expand_rows %tab over %rows : !table -> !table
  %real = nsa.real_page_table %repeated page_size 64 : !table -> !table
  %context = nsa.context_lens %len columns 4 : !vector -> tensor<?x4xi32>
  nsa.copy %len to %lens : !vector to !vector_out
  nsa.copy %exp to %expanded : !vector to !vector_out
  nsa.copy %sums to %cu : !vector to !vector_out
  nsa.copy %repeated to %pages_1 : !table to !table_out
  nsa.copy %real to %pages_64 : !table to !table_out
  nsa.copy %context to %ctx : tensor<?x4xi32> to memref<?x4xi32>
}

// The device knows how many rows a request has.
nsa.step @draft_extend(in %bs : index, in %bound : index, in %max_len : index,
                       in %seq_lens[%bs] : tensor<?xi64>,
                       in %extend[%bs] : tensor<?xi32>,
                       in %pool[%bs] : tensor<?xi64>, in %tokens : !table,
                       out %expanded : !vector_out, out %cu : !vector_out,
                       out %total : memref<1xi32>, out %pages_1 : !table_out,
                       out %pages_64 : !table_out) {
  %len = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> !vector
  %rows = nsa.expansion by %extend padded to %bound : tensor<?xi32>
  %exp = nsa.expand_seqlens causal %len over %rows : !vector -> !vector
  %clip = nsa.clip_seqlens %exp to 2048 : !vector
  %sums = nsa.cu_seqlens %clip : !vector -> !vector
  %count = nsa.total_rows %rows : tensor<1xi32>
  %tab = nsa.page_table %tokens[%pool] columns %max_len
      : !table, tensor<?xi64> -> !table
  %repeated = nsa.expand_rows %tab over %rows : !table -> !table
  %real = nsa.real_page_table %repeated page_size 64 : !table -> !table
  nsa.copy %exp to %expanded : !vector to !vector_out
  nsa.copy %sums to %cu : !vector to !vector_out
  nsa.copy %count to %total : tensor<1xi32> to memref<1xi32>
  nsa.copy %repeated to %pages_1 : !table to !table_out
  nsa.copy %real to %pages_64 : !table to !table_out
}

// Pages of 3 tokens start anywhere in a vector; nobody asks for the tokens of
// those of 5.
nsa.step @page_sizes(in %bs : index, in %max_len : index,
                     in %pool[%bs] : tensor<?xi64>, in %tokens : !table,
                     out %pages_1 : memref<?x?xi32>,
                     out %pages_3 : memref<?x?xi32>,
                     out %pages_5 : memref<8x20xi32>) {
  %tab = nsa.page_table %tokens[%pool] columns %max_len
      : !table, tensor<?xi64> -> !table
  %other = nsa.page_table %tokens[%pool] columns 100
      : !table, tensor<?xi64> -> tensor<?x100xi32>
  %real_3 = nsa.real_page_table %tab page_size 3 : !table -> !table
  %real_5 = nsa.real_page_table %other page_size 5
      : tensor<?x100xi32> -> tensor<?x20xi32>
  nsa.copy %tab to %pages_1 : !table to memref<?x?xi32>
  nsa.copy %real_3 to %pages_3 : !table to memref<?x?xi32>
  nsa.copy %real_5 to %pages_5 : tensor<?x20xi32> to memref<8x20xi32>
}
