// Everything that a size, a shape or a stride can be in a manifest.

nsa.step @sizes(in %n : index, in %whole : tensor<?xi32>,
                in %part[%n, ?] : tensor<?x?xi64>, in %fixed : tensor<4x100xi32>,
                in %rows : tensor<4xi32>, in %copied : tensor<?x?xi32>,
                out %a : memref<?xi32>, out %b : memref<?x?xi32>,
                out %c : memref<4x10xi32>,
                out %d : memref<?x?xi32, strided<[128, 1]>>,
                out %e : memref<8xi32, strided<[2]>>) {
  %cu = nsa.cu_seqlens %whole : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %cu to %a : tensor<?xi32> to memref<?xi32>
  nsa.copy %copied to %b : tensor<?x?xi32> to memref<?x?xi32>
  %real = nsa.real_page_table %fixed page_size 10
      : tensor<4x100xi32> -> tensor<4x10xi32>
  nsa.copy %real to %c : tensor<4x10xi32> to memref<4x10xi32>
  %columns = affine.apply affine_map<()[s0] -> (s0 floordiv 2 + s0 mod 3)>()[%n]
  %tab = nsa.page_table %fixed[%rows] columns %columns
      : tensor<4x100xi32>, tensor<4xi32> -> tensor<4x?xi32>
  nsa.copy %tab to %d : tensor<4x?xi32> to memref<?x?xi32, strided<[128, 1]>>
  nsa.copy %rows to %e : tensor<4xi32> to memref<8xi32, strided<[2]>>
}
