// nsa-opt --pass-pipeline='builtin.module(nsa.step(nsa-warn-unused))'
nsa.step @lengths(in %bs : index, in %seq_lens[%bs] : tensor<?xi64>,
                  in %pool[%bs] : tensor<?xi64>, out %b0_lens : memref<?xi32>) {
  %len = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> tensor<?xi32>
  nsa.copy %len to %b0_lens : tensor<?xi32> to memref<?xi32>
}
