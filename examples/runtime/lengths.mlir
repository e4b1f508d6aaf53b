// Lengths and their sums, for two backends.
nsa.step @lengths(in %bs : index, in %seq_lens[%bs] : tensor<?xi64>,
                  out %b0_lens : memref<?xi32>, out %b0_cu : memref<?xi32>,
                  out %b1_lens : memref<?xi32>) {
  %len = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> tensor<?xi32>
  %cu = nsa.cu_seqlens %len : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %len to %b0_lens, %b1_lens : tensor<?xi32> to memref<?xi32>, memref<?xi32>
  nsa.copy %cu to %b0_cu : tensor<?xi32> to memref<?xi32>
}
