// nsa-opt --pass-pipeline='builtin.module(nsa.step(nsa-form-launches))'
nsa.step @lengths(in %bs : index, in %seq_lens[%bs] : tensor<?xi64>,
                  out %lens : memref<?xi32>, out %cu : memref<?xi32>) {
  %len = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> tensor<?xi32>
  %sums = nsa.cu_seqlens %len : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %len to %lens : tensor<?xi32> to memref<?xi32>
  nsa.copy %sums to %cu : tensor<?xi32> to memref<?xi32>
}
