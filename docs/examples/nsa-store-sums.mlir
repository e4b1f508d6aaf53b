// nsa-opt --pass-pipeline='builtin.module(nsa.step(nsa-store-sums))'
nsa.step @owners(in %n : index {expected = 65536}, in %rows : index,
                 in %counts[%n] : tensor<?xi32>, out %owners : memref<?xi32>) {
  %off = nsa.scan %counts : tensor<?xi32> -> tensor<?xi32>
  %owner = nsa.map(%r) in (%rows) : tensor<?xi32> {
    %after = nsa.search %off for %r : tensor<?xi32>
    %number = arith.index_cast %after : index to i32
    nsa.yield %number : i32
  }
  nsa.copy %owner to %owners : tensor<?xi32> to memref<?xi32>
}
