nsa.step @refused(in %bs : index, in %seq_lens[%bs] : tensor<?xi64>,
                  out %table : memref<?x?xi32>, out %sums : memref<?xi32>) {
  %lens = nsa.seqlens %seq_lens plus 4 : tensor<?xi64> -> tensor<?xi32>
  nsa.copy %lens to %table : tensor<?xi32> to memref<?x?xi32>
}
