// nsa-opt --pass-pipeline='builtin.module(nsa.step(nsa-expand-named))'
nsa.step @lengths(in %bs : index, in %lens[%bs] : tensor<?xi32>, out %x : memref<?xi32>) {
  %clip = nsa.clip_seqlens %lens to 2048 : tensor<?xi32>
  nsa.copy %clip to %x : tensor<?xi32> to memref<?xi32>
}
