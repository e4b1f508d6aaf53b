// Where all elements of a launch rest on sums, a thread loads its elements one
// by one as long as each is a tile, and else eight at a time; tiles are then
// whole groups. Loops over a few elements are not unrolled, and the sum of all
// is the last tile's: nobody walks to it.

// RUN: nsa-opt %s --nsa-form-launches --nsa-fuse-launches --nsa-assign-tiles \
// RUN:   --nsa-launch-to-gpu --canonicalize --cse | FileCheck %s
// RUN: nsa-opt %s --nsa-form-launches --nsa-fuse-launches --nsa-assign-tiles \
// RUN:   --nsa-launch-to-loops | FileCheck %s --check-prefix=HOST
// RUN: rm -rf %t && nsa-compile %s -o %t
// RUN: FileCheck %s --check-prefix=PTX < %t/alone.ptx

// CHECK: #[[UNROLL:.*]] = #llvm.loop_unroll<disable = true>
// CHECK: #[[ROLLED:.*]] = #llvm.loop_annotation<unroll = #[[UNROLL]]>
// CHECK-LABEL: gpu.func @alone
// CHECK-SAME: %[[LENS:[^:]*]]: memref<?xi32, strided<[?]>>
// CHECK-SAME: workgroup(%[[SUMS:[^ ]*]] : memref<1025xi32
// CHECK:      %[[THREAD:.*]] = gpu.thread_id x
// CHECK:      %[[SIZE:.*]] = arith.maxsi
// CHECK-NEXT: %[[ARE_ALL:.*]] = arith.cmpi ule, %[[SIZE]], %c1024
// CHECK-NEXT: %[[LEAST:.*]] = arith.select %[[ARE_ALL]], %c0, %c3
// CHECK-NEXT: %[[SHIFT:.*]] = scf.while (%{{.*}} = %[[LEAST]])
// CHECK:      %[[TILES:.*]] = arith.shrui %{{.*}}, %[[SHIFT]]
// CHECK-NEXT: %[[IS_ONE:.*]] = arith.cmpi eq, %[[SHIFT]], %c0
// CHECK-NEXT: scf.if %[[IS_ONE]] {
// CHECK-NEXT:   scf.for %[[I:.*]] = %[[THREAD]] to %[[SIZE]] step %c128 {
// CHECK-NEXT:     memref.load %[[LENS]][%[[I]]]
// CHECK-NEXT:     arith.maxsi
// CHECK-NEXT:     memref.store %{{.*}}, %[[SUMS]][%[[I]]]
// CHECK-NEXT:   } {loop_annotation = #[[ROLLED]]}
// CHECK-NEXT: } else {
// CHECK-NEXT:   scf.for %[[TILE:.*]] = %[[THREAD]] to %[[TILES]] step %c128 {
// CHECK:          scf.for %{{.*}} = %{{.*}} to %{{.*}} step %c8
// CHECK-COUNT-8:    memref.load %[[LENS]]
// CHECK-NOT:        memref.load
// CHECK:          memref.store %{{.*}}, %[[SUMS]][%[[TILE]]]
// CHECK-NEXT:   }
// CHECK-NEXT: }
// CHECK-NEXT: gpu.barrier
// CHECK:      scf.for
// CHECK-NEXT:   memref.load %[[SUMS]]
// CHECK-NEXT:   arith.addi
// CHECK-NEXT:   scf.yield
// CHECK-NEXT: } {loop_annotation = #[[ROLLED]]}
// CHECK:      memref.load %[[SUMS]][%[[TILES]]]
// CHECK:      scf.if %[[IS_ONE]] -> (i32) {
// CHECK:        memref.load %[[SUMS]]
// CHECK:      } else {
// CHECK:        memref.load %[[SUMS]]
// CHECK:        scf.for
// CHECK:        } {loop_annotation = #[[ROLLED]]}

// On the host a tile is no load of its own.
// HOST-LABEL: func.func @alone
// HOST-NOT: arith.minui

// Up to the barrier there are these nine loads.
// PTX-LABEL: .entry alone(
// PTX-COUNT-9: ld.global
// PTX-NOT: ld.global
// PTX: bar.sync
nsa.step @alone(in %n : index, in %lens[%n] : tensor<?xi32>,
                out %rest : memref<?xi32>) {
  %weights = nsa.map(%j) in (%n) : tensor<?xi32> {
    %zero = arith.constant 0 : i32
    %len = nsa.read %lens[%j] else %zero : tensor<?xi32>
    %weight = arith.maxsi %len, %zero : i32
    nsa.yield %weight : i32
  }
  %sums = nsa.scan %weights : tensor<?xi32> -> tensor<?xi32>
  %0 = nsa.map(%i) in (%n) : tensor<?xi32> {
    %zero = arith.constant 0 : i32
    %total = nsa.read %sums[%n] else %zero : tensor<?xi32>
    %before = nsa.read %sums[%i] else %zero : tensor<?xi32>
    %left = arith.subi %total, %before : i32
    nsa.yield %left : i32
  }
  nsa.copy %0 to %rest : tensor<?xi32> to memref<?xi32>
}

// Beside elements without sums there are no groups: these have more blocks at a
// time where a thread has fewer registers.

// CHECK-LABEL: gpu.func @beside
// CHECK:     scf.while (%{{.*}} = %c0)
// CHECK:     scf.for
// CHECK:       %[[SUM:.*]] = scf.for %{{.*}} step %c1 iter_args
// CHECK-NEXT:    memref.load
// CHECK:         scf.yield
// CHECK-NEXT:  } {loop_annotation = #{{.*}}}
// CHECK-NEXT:  memref.store %[[SUM]]
// CHECK:     gpu.barrier
nsa.step @beside(in %n : index, in %lens[%n] : tensor<?xi32>,
                 in %pages[%n, ?] : tensor<?x64xi32>,
                 out %rest : memref<?xi32>, out %copied : memref<?x64xi32>) {
  %weights = nsa.map(%j) in (%n) : tensor<?xi32> {
    %zero = arith.constant 0 : i32
    %len = nsa.read %lens[%j] else %zero : tensor<?xi32>
    %weight = arith.maxsi %len, %zero : i32
    nsa.yield %weight : i32
  }
  %sums = nsa.scan %weights : tensor<?xi32> -> tensor<?xi32>
  %0 = nsa.map(%i) in (%n) : tensor<?xi32> {
    %zero = arith.constant 0 : i32
    %total = nsa.read %sums[%n] else %zero : tensor<?xi32>
    %before = nsa.read %sums[%i] else %zero : tensor<?xi32>
    %left = arith.subi %total, %before : i32
    nsa.yield %left : i32
  }
  nsa.copy %0 to %rest : tensor<?xi32> to memref<?xi32>
  nsa.copy %pages to %copied : tensor<?x64xi32> to memref<?x64xi32>
}
