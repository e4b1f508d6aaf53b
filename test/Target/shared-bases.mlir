// RUN: rm -rf %t && nsa-compile %s -o %t && FileCheck %s < %t/count.ptx

// A block's sum goes through shared memory: each warp stores its own, and one
// thread adds them up. Both have the address from one register, which is there
// before the barrier.

// CHECK:       .shared .align 16 .b8 [[NAME:__wg_count_0]][{{[0-9]+}}];
// CHECK-NEXT:  .reg .b64 %wg0;
// CHECK-NEXT:  mov.b64 %wg0, [[NAME]];
// CHECK-NOT:   [[NAME]]
// CHECK:       mov.b64 [[WARP:%rd[0-9]+]], %wg0;
// CHECK:       st.shared.b32
// CHECK:       bar.sync 0;
// CHECK:       ld.shared.v4.b32 {{.*}}, [%wg0];
// CHECK-NOT:   [[NAME]]
nsa.step @count(in %n : index, in %x[%n, ?] : tensor<?x512xi32> {alignment = 16, layout = strided<[512, 1]>},
                out %counts : memref<?xi32>) {
  %is = nsa.map(%i, %j) in (%n, 512) : tensor<?x512xi32> {
    %zero = arith.constant 0 : i32
    %one = arith.constant 1 : i32
    %0 = nsa.read %x[%i, %j] else %zero : tensor<?x512xi32>
    %isThere = arith.cmpi sge, %0, %zero : i32
    %1 = arith.select %isThere, %one, %zero : i32
    nsa.yield %1 : i32
  }
  %sum = nsa.reduce add %is : tensor<?x512xi32> -> tensor<?xi32>
  nsa.copy %sum to %counts : tensor<?xi32> to memref<?xi32>
}
