// A block makes a recurrence: its threads guess elements, and each warp votes on
// how many were right. Searches in what a block keeps have three loads in
// flight, and look at nothing else where each element is kept. On the host one
// step follows the other.

// RUN: nsa-opt %s --nsa-form-launches --nsa-assign-tiles --nsa-launch-to-gpu \
// RUN:   --canonicalize | FileCheck %s
// RUN: nsa-opt %s --nsa-form-launches --nsa-assign-tiles --nsa-launch-to-loops \
// RUN:   | FileCheck %s --check-prefix=HOST

// CHECK-LABEL: gpu.func @parts
// CHECK: %[[THREAD:.*]] = gpu.thread_id x
// CHECK: scf.while
// CHECK: %[[STRIDE:.*]] = arith.muli
// CHECK: %[[GUESS:.*]] = arith.addi %{{.*}}, %[[STRIDE]] : i64
// CHECK: %[[NEXT:.*]] = arith.addi %[[GUESS]], %c40_i64
// CHECK: %[[IS_RIGHT:.*]] = arith.cmpi eq, %[[NEXT]]
// CHECK: nvvm.vote.sync ballot %{{.*}}, %[[IS_RIGHT]] -> i32
// CHECK: scf.if
// CHECK-NEXT: memref.store {{.*}} : memref<2x1x8xi32, #gpu.address_space<workgroup>>
// CHECK-NEXT: memref.store %[[NEXT]], {{.*}} : memref<2x1x8xi64, #gpu.address_space<workgroup>>
// CHECK: gpu.barrier
// CHECK-COUNT-8: memref.load {{.*}} : memref<2x1x8xi32, #gpu.address_space<workgroup>>
// CHECK: memref.load {{.*}} : memref<2x1x8xi64, #gpu.address_space<workgroup>>
// CHECK: scf.yield
// CHECK: gpu.barrier
// CHECK: scf.while
// CHECK: memref.load {{.*}}#gpu.address_space<workgroup>
// CHECK-NEXT: arith.index_castui
// CHECK-NEXT: memref.load {{.*}}#gpu.address_space<workgroup>
// CHECK-NEXT: arith.index_castui
// CHECK-NEXT: memref.load {{.*}}#gpu.address_space<workgroup>
// CHECK: scf.yield
// CHECK: %[[IS_ELEMENT:.*]] = arith.cmpi eq, %{{.*}}, %c0 : index
// CHECK: scf.if %[[IS_ELEMENT]] -> (index)
// CHECK-NOT: scf.while
// CHECK: } else {
// CHECK: scf.while

// HOST-LABEL: func.func @parts
// HOST-NOT: nvvm
nsa.step @parts(in %parts : index, in %goals[%parts] : tensor<?xi64>,
                out %first : memref<?xi32>) {
  %x = nsa.iterate(%i, %x) in (%parts) from 0 : tensor<?xi64> {
    %size = arith.constant 40 : i64
    %next = arith.addi %x, %size : i64
    nsa.yield %next : i64
  }
  %owner = nsa.map(%p) in (%parts) : tensor<?xi32> {
    %goal = nsa.read %goals[%p] : tensor<?xi64>
    %place = arith.index_cast %goal : i64 to index
    %after = nsa.search %x for %place : tensor<?xi64>
    %number = arith.index_cast %after : index to i32
    nsa.yield %number : i32
  }
  nsa.copy %owner to %first : tensor<?xi32> to memref<?xi32>
}
