// A small decode replay: one backend, four fields, one of them twice.

nsa.step @replay(in %bs : index, in %max_len : index,
                 in %seq_lens[%bs] : tensor<?xi64>,
                 in %pool[%bs] : tensor<?xi32>, in %tokens : tensor<?x?xi32>,
                 out %lens : memref<?xi32>,
                 out %cu : memref<?xi32, strided<[?]>>,
                 out %table : memref<?x?xi32, strided<[?, 1]>>,
                 out %pages : memref<?x?xi32, strided<[?, 1]>>,
                 out %lens_again : memref<?xi32>) {
  %len = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> tensor<?xi32>
  %sums = nsa.cu_seqlens %len : tensor<?xi32> -> tensor<?xi32>
  %tab = nsa.page_table %tokens[%pool] columns %max_len
      : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
  %real = nsa.real_page_table %tab page_size 64
      : tensor<?x?xi32> -> tensor<?x?xi32>
  nsa.copy %len to %lens, %lens_again
      : tensor<?xi32> to memref<?xi32>, memref<?xi32>
  nsa.copy %sums to %cu : tensor<?xi32> to memref<?xi32, strided<[?]>>
  nsa.copy %tab to %table : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
  nsa.copy %real to %pages : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
}
