// nsa-opt --pass-pipeline='builtin.module(nsa.step(nsa-share-forms))'
nsa.step @lengths(in %bs : index, in %lens[%bs] : tensor<?xi32>, out %x : memref<?xi32>, out %y : memref<?xi32>) {
  %named = nsa.clip_seqlens %lens to 2048 : tensor<?xi32>
  %written = nsa.map(%b) in (%bs) : tensor<?xi32> {
    %limit = arith.constant 2048 : i32
    %len = nsa.read %lens[%b] : tensor<?xi32>
    %least = arith.minsi %len, %limit : i32
    nsa.yield %least : i32
  }
  nsa.copy %named to %x : tensor<?xi32> to memref<?xi32>
  nsa.copy %written to %y : tensor<?xi32> to memref<?xi32>
}
