// nsa-opt --pass-pipeline='builtin.module(nsa.step(nsa-fuse-launches,cse))'
nsa.step @replay(in %bs : index, in %max_len : index,
                 in %seq_lens[%bs] : tensor<?xi32>,
                 in %pool[%bs] : tensor<?xi64>, in %tokens : tensor<?x?xi32>,
                 out %lens : memref<?xi32>, out %cu : memref<?xi32>,
                 out %table : memref<?x?xi32>, out %pages : memref<?x?xi32>) {
  nsa.launch @replay_lens {
    nsa.segment tile(%bs) {
      nsa.copy %seq_lens to %lens : tensor<?xi32> to memref<?xi32>
    }
  }
  nsa.launch @replay_cu {
    nsa.segment scan(%bs) {
      %sums = nsa.cu_seqlens %seq_lens : tensor<?xi32> -> tensor<?xi32>
      nsa.copy %sums to %cu : tensor<?xi32> to memref<?xi32>
    }
  }
  nsa.launch @replay_table {
    nsa.segment tile(%bs, %max_len) {
      %tab = nsa.page_table %tokens[%pool] columns %max_len
          : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x?xi32>
      nsa.copy %tab to %table : tensor<?x?xi32> to memref<?x?xi32>
    }
  }
  %columns = affine.apply affine_map<()[s0] -> (s0 ceildiv 64)>()[%max_len]
  nsa.launch @replay_pages {
    nsa.segment tile(%bs, %columns) {
      %tab = nsa.page_table %tokens[%pool] columns %max_len
          : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x?xi32>
      %real = nsa.real_page_table %tab page_size 64
          : tensor<?x?xi32> -> tensor<?x?xi32>
      nsa.copy %real to %pages : tensor<?x?xi32> to memref<?x?xi32>
    }
  }
}
