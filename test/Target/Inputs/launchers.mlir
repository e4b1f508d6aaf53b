// What replay.mlir and sizes.mlir leave out: extents with constants, stated
// alignments and layouts, sizes that leave 64 bits.

nsa.step @expanded(in %bs : index, in %cu[%bs + 1] : tensor<?xi32>,
                   in %seq_lens[%bs] : tensor<?xi64>,
                   in %tab[%bs, ?] : tensor<?x?xi32>
                       {alignment = 16, layout = strided<[4096, 1]>},
                   out %d : memref<?xi32>, out %rows : memref<?xi32>,
                   out %e : memref<?x?xi32, strided<[?, 1]>> {alignment = 32},
                   out %f : memref<?x?xi32, strided<[?, 1]>>) {
  %len = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> tensor<?xi32>
  %four = nsa.expansion by 4
  %exp = nsa.expand_seqlens causal %len over %four
      : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %cu from 1 to %d : tensor<?xi32> to memref<?xi32>
  nsa.copy %exp to %rows : tensor<?xi32> to memref<?xi32>
  nsa.copy %tab to %e, %f : tensor<?x?xi32> to
      memref<?x?xi32, strided<[?, 1]>>, memref<?x?xi32, strided<[?, 1]>>
}

nsa.step @overflow(in %n : index, in %m : index, in %k : index,
                   in %pool[%n] : tensor<?xi32>, in %tokens : tensor<?x?xi32>,
                   out %table : memref<?x?xi32, strided<[?, 1]>>) {
  %columns = affine.apply
      affine_map<()[s0, s1, s2] -> (s0 * s1 * s2 floordiv 16)>()[%n, %m, %k]
  %tab = nsa.page_table %tokens[%pool] columns %columns
      : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
  nsa.copy %tab to %table : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
}
