// Reductions of as many elements that rest on none of one another are one walk
// and one exchange; of one element, each thread makes it.

// RUN: nsa-opt %s --nsa-form-launches --nsa-assign-tiles --nsa-launch-to-gpu \
// RUN:   --canonicalize --cse | FileCheck %s

// CHECK-LABEL: gpu.func @counts
// CHECK: %[[PARTS:.*]]:2 = scf.for {{.*}} -> (i32, i32)
// CHECK: gpu.barrier
// CHECK-NOT: scf.for
// The sum rests on the count, so that it comes after.
// CHECK: scf.for {{.*}} -> (i32)
// CHECK: gpu.barrier
// CHECK-NOT: gpu.barrier
// CHECK: memref.store {{.*}}memref<?xi32>
// CHECK-NOT: gpu.barrier
nsa.step @counts(in %n : index, in %lens[%n] : tensor<?xi32>, out %out : memref<?xi32>) {
  %above = nsa.map(%b) in (%n) : tensor<?xi32> {
    %limit = arith.constant 100 : i32
    %length = nsa.read %lens[%b] : tensor<?xi32>
    %least = arith.maxsi %length, %limit : i32
    nsa.yield %least : i32
  }
  %most = nsa.reduce max %lens : tensor<?xi32> -> tensor<1xi32>
  %count = nsa.reduce add %above : tensor<?xi32> -> tensor<1xi32>
  %rest = nsa.map(%b) in (%n) : tensor<?xi32> {
    %zero = arith.constant 0 : index
    %length = nsa.read %lens[%b] : tensor<?xi32>
    %all = nsa.read %count[%zero] : tensor<1xi32>
    %left = arith.subi %all, %length : i32
    nsa.yield %left : i32
  }
  %sum = nsa.reduce add %rest : tensor<?xi32> -> tensor<1xi32>
  %both = nsa.map(%_) in (1) : tensor<1xi32> {
    %zero = arith.constant 0 : index
    %a = nsa.read %most[%zero] : tensor<1xi32>
    %b = nsa.read %sum[%zero] : tensor<1xi32>
    %c = arith.addi %a, %b : i32
    nsa.yield %c : i32
  }
  %one = nsa.reduce max %both : tensor<1xi32> -> tensor<1xi32>
  %values = nsa.map(%b) in (%n) : tensor<?xi32> {
    %zero = arith.constant 0 : index
    %a = nsa.read %one[%zero] : tensor<1xi32>
    %length = nsa.read %lens[%b] : tensor<?xi32>
    %c = arith.addi %a, %length : i32
    nsa.yield %c : i32
  }
  nsa.copy %values to %out : tensor<?xi32> to memref<?xi32>
}
