// nsa-opt --nsa-assign-tiles --nsa-launch-to-loops --canonicalize --cse
nsa.step @sums(in %bs : index, in %seq_lens[%bs] : tensor<?xi32>,
               out %lens : memref<?xi32>, out %cu : memref<?xi32>) {
  nsa.launch @sums {
    nsa.segment scan(%bs) {
      nsa.copy %seq_lens to %lens : tensor<?xi32> to memref<?xi32>
      %sums = nsa.cu_seqlens %seq_lens : tensor<?xi32> -> tensor<?xi32>
      nsa.copy %sums to %cu : tensor<?xi32> to memref<?xi32>
    }
  }
}
