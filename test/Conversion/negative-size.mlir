// RUN: nsa-opt %s --pass-pipeline='builtin.module(nsa.step(nsa-form-launches{per-copy=true},nsa-fuse-launches,nsa-assign-tiles),nsa-launch-to-gpu)' \
// RUN:   | FileCheck %s

// A computed size may be negative. A launcher counts no blocks for it then, and so
// does the kernel: the blocks of the next segment are not taken for its own.

// CHECK-LABEL: gpu.func @rest
// CHECK:         gpu.block_id
// CHECK:         %[[REST:.*]] = affine.apply #{{.*}}[%arg0, %arg1]
// CHECK-NEXT:    %{{.*}} = arith.constant 0 : index
// CHECK-NEXT:    arith.maxsi %[[REST]], %{{.*}} : index
// CHECK:         arith.cmpi ult
nsa.step @rest(in %max_len : index, in %skipped : index, in %pool : tensor<?xi32>,
               in %table : tensor<?x?xi32>, in %a : tensor<?x?xi32>,
               out %x : memref<?x?xi32>, out %y : memref<?x?xi32>) {
  %rest = affine.apply affine_map<()[s0, s1] -> (s0 - s1)>()[%max_len, %skipped]
  %tab = nsa.page_table %table[%pool] columns %rest
      : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
  nsa.copy %tab to %x : tensor<?x?xi32> to memref<?x?xi32>
  nsa.copy %a to %y : tensor<?x?xi32> to memref<?x?xi32>
}

// There is no last sum either.
// CHECK-LABEL: gpu.func @sums
// CHECK-DAG:     %[[ZERO:.*]] = arith.constant 0 : index
// CHECK-DAG:     %[[LESS:.*]] = affine.apply
// CHECK:         scf.for
// CHECK:         %[[IS_SIZE:.*]] = arith.cmpi sge, %[[LESS]], %{{.*}} : index
// CHECK-NEXT:    scf.if %[[IS_SIZE]] {
// CHECK-NEXT:      memref.store
nsa.step @sums(in %n : index, out %x : memref<?xi32>) {
  %less = affine.apply affine_map<()[s0] -> (s0 - 100)>()[%n]
  %bases = nsa.compressed_bases %less stride %n : tensor<?xi32>
  %cu = nsa.cu_seqlens %bases : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %cu to %x : tensor<?xi32> to memref<?xi32>
}

// Rows of as many requests, and the block that has their leading 0, are counted
// together, as launchers do.
// CHECK-LABEL: gpu.func @rows
// CHECK:         %[[LESS:.*]] = affine.apply
// CHECK:         %[[MORE:.*]] = affine.apply
// CHECK:         arith.maxsi %[[MORE]], %{{.*}} : index
// CHECK:         %[[IS_SIZE:.*]] = arith.cmpi sge, %[[LESS]], %{{.*}} : index
// CHECK-NEXT:    scf.if %[[IS_SIZE]] {
// CHECK-NEXT:      memref.store
nsa.step @rows(in %n : index, in %a : tensor<?xi32>, out %x : memref<?xi32>,
               out %y : memref<?xi32>) {
  %less = affine.apply affine_map<()[s0] -> (s0 - 100)>()[%n]
  %bases = nsa.compressed_bases %less stride %n : tensor<?xi32>
  %three = nsa.expansion by 3
  %rows = nsa.expand_seqlens causal %bases over %three : tensor<?xi32> -> tensor<?xi32>
  %cu = nsa.cu_seqlens %rows : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %cu to %x : tensor<?xi32> to memref<?xi32>
  nsa.copy %a to %y : tensor<?xi32> to memref<?xi32>
}
