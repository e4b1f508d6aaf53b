// nsa-opt --pass-pipeline='builtin.module(nsa.step(nsa-check-places))'
// The longest length is the last one, and goes to the beginning. Without `when`,
// where the lengths go does not depend on their index, which is an error.
nsa.step @longest(in %bs : index, in %sorted[%bs] : tensor<?xi32>, out %max_len : memref<?xi32>) {
  %first = nsa.map(%b) in (%bs) : tensor<?xi32> {
    %zero = arith.constant 0 : i32
    nsa.yield %zero : i32
  }
  %is_last = nsa.map(%b) in (%bs) : tensor<?xi8> {
    %one = arith.constant 1 : index
    %next = arith.addi %b, %one : index
    %equal = arith.cmpi eq, %next, %bs : index
    %flag = arith.extui %equal : i1 to i8
    nsa.yield %flag : i8
  }
  nsa.copy %sorted when %is_last at [%first] to %max_len
      : tensor<?xi32> when tensor<?xi8> at tensor<?xi32> to memref<?xi32>
}
