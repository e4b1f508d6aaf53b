// nsa-opt --nsa-assign-tiles
nsa.step @replay(in %bs : index, in %max_len : index, in %pool[%bs] : tensor<?xi64>,
                 in %tokens : tensor<?x?xi32>, in %lens[%bs] : tensor<?xi32>,
                 out %table : memref<?x?xi32, strided<[?, 1]>>, out %cu : memref<?xi32>) {
  nsa.launch @replay {
    nsa.segment tile(%bs, %max_len) {
      %t = nsa.page_table %tokens[%pool] columns %max_len live %lens : tensor<?xi32>
          : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x?xi32>
      nsa.copy %t to %table : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
    }
    nsa.segment scan(%bs) {
      %sums = nsa.cu_seqlens %lens : tensor<?xi32> -> tensor<?xi32>
      nsa.copy %sums to %cu : tensor<?xi32> to memref<?xi32>
    }
  }
}
