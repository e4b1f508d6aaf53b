// nsa-opt --pass-pipeline='builtin.module(nsa.step(nsa-narrow-indices))'
nsa.step @low_bits(in %n : index, out %a : memref<?xi32>) {
  %v = nsa.map(%r) in (%n) : tensor<?xi32> {
    %low = arith.index_cast %r : index to i32
    nsa.yield %low : i32
  }
  nsa.copy %v to %a : tensor<?xi32> to memref<?xi32>
}
