// Casts of indices stand in the branch that uses them; nothing else is moved, as
// all threads have to get to a shuffle.

// RUN: nsa-opt %s --nsa-sink-casts | FileCheck %s

// CHECK-LABEL: gpu.func @sink
// CHECK:       %[[BOTH:.*]] = arith.index_cast
// CHECK-NOT:   arith.index_cast
// CHECK:       gpu.shuffle xor
// CHECK:       scf.if
// CHECK-NEXT:    %[[PLACE:.*]] = arith.index_castui %{{.*}} : i32 to index
// CHECK-NEXT:    memref.store %{{.*}}, %{{.*}}[%[[PLACE]]]
// CHECK:       memref.store %{{.*}}, %{{.*}}[%[[BOTH]]]
gpu.module @module {
  gpu.func @sink(%a: memref<?xi32>, %x: i32, %y: i32, %is: i1) kernel {
    %c1 = arith.constant 1 : i32
    %c32 = arith.constant 32 : i32
    %place = arith.index_castui %x : i32 to index
    %both = arith.index_cast %y : i32 to index
    %other, %valid = gpu.shuffle xor %x, %c1, %c32 : i32
    scf.if %is {
      memref.store %other, %a[%place] : memref<?xi32>
      memref.store %other, %a[%both] : memref<?xi32>
    }
    memref.store %x, %a[%both] : memref<?xi32>
    gpu.return
  }
}
