// nsa-opt --nsa-assign-tiles --nsa-launch-to-gpu --canonicalize --cse
nsa.step @lengths(in %bs : index, in %seq_lens[%bs] : tensor<?xi32>,
                  out %lens : memref<?xi32, strided<[?]>>) {
  nsa.launch @lengths {
    nsa.segment tile(%bs) {
      %len = nsa.clip_seqlens %seq_lens to 2048 : tensor<?xi32>
      nsa.copy %len to %lens : tensor<?xi32> to memref<?xi32, strided<[?]>>
    }
  }
}
