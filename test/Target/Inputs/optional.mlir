// One array that is always there, and two that may be missing.
nsa.step @optional(in %n : index, in %m : index, in %lens[%n] : tensor<?xi32>,
                   out %b0 : memref<?xi32>, out optional %b1 : memref<?x?xi32, strided<[?, 1]>>,
                   out optional %b2 : memref<?x?xi32, strided<[?, 1]>>) {
  nsa.copy %lens to %b0 : tensor<?xi32> to memref<?xi32>
  %table = nsa.map(%r, %c) in (%n, %m) : tensor<?x?xi32> {
    %x = nsa.read %lens[%r] : tensor<?xi32>
    nsa.yield %x : i32
  }
  nsa.copy %table to %b1, %b2 : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>, memref<?x?xi32, strided<[?, 1]>>
}
