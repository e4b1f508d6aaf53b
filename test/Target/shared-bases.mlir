// RUN: rm -rf %t && nsa-compile %s -o %t && FileCheck %s < %t/rows.ptx
// RUN: FileCheck %s < %t/sums.ptx --check-prefix=ONCE

// Sums along a row of 16 warps go through shared memory: each warp stores its
// own, and all add up those of others. All have the address from one register,
// which is there before the barrier.

// CHECK:       .shared .align 16 .b8 [[NAME:__wg_rows_0]][{{[0-9]+}}];
// CHECK-NEXT:  .reg .b64 %wg0;
// CHECK-NEXT:  mov.b64 %wg0, [[NAME]];
// CHECK-NOT:   [[NAME]]
// CHECK:       mov.b64 %rd{{[0-9]+}}, %wg0;
// CHECK:       st.shared.b32
// CHECK:       bar.sync 0;
// CHECK:       ld.shared.v4.b32 {{.*}}, [%wg0];
// CHECK:       ld.shared.v4.b32 {{.*}}, [%wg0+16];
// CHECK-NOT:   [[NAME]]
nsa.step @rows(in %n : index, in %x[%n, ?] : tensor<?x2048xi32> {alignment = 16, layout = strided<[2048, 1]>},
               out %sums : memref<?x?xi32, strided<[?, 1]>>) {
  %is = nsa.map(%i, %j) in (%n, 2048) : tensor<?x2048xi32> {
    %zero = arith.constant 0 : i32
    %one = arith.constant 1 : i32
    %0 = nsa.read %x[%i, %j] else %zero : tensor<?x2048xi32>
    %isThere = arith.cmpi sge, %0, %zero : i32
    %1 = arith.select %isThere, %one, %zero : i32
    nsa.yield %1 : i32
  }
  %0 = nsa.scan inclusive %is : tensor<?x2048xi32> -> tensor<?x2048xi32>
  nsa.copy %0 to %sums : tensor<?x2048xi32> to memref<?x?xi32, strided<[?, 1]>>
}

// What is named once is left as it is.
// ONCE:     .shared {{.*}} [[NAME:__wg_sums_0]][
// ONCE-NOT: %wg
// ONCE:     mov.b64 %rd{{[0-9]+}}, [[NAME]];
// ONCE-NOT: {{%wg|__wg}}
nsa.step @sums(in %n : index, in %lens[%n] : tensor<?xi32>, out %cu : memref<?xi32>) {
  %sums = nsa.cu_seqlens %lens : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %sums to %cu : tensor<?xi32> to memref<?xi32>
}
