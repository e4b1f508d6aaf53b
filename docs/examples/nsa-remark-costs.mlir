// nsa-opt --pass-pipeline='builtin.module(nsa.step(nsa-remark-costs))'
nsa.step @next(in %bs : index, in %lens[%bs] : tensor<?xi32>, out %x : memref<?xi32>) {
  %next = nsa.map(%b) in (%bs) : tensor<?xi32> {
    %one = arith.constant 1 : i32
    %len = nsa.read %lens[%b] : tensor<?xi32>
    %more = arith.addi %len, %one : i32
    nsa.yield %more : i32
  }
  nsa.copy %next to %x : tensor<?xi32> to memref<?xi32>
}
