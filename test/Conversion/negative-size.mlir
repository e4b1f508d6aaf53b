// RUN: nsa-opt %s --pass-pipeline='builtin.module(nsa.step(nsa-form-launches{per-copy=true},nsa-fuse-launches),nsa-launch-to-gpu)' \
// RUN:   | FileCheck %s

// A computed size may be negative. A launcher counts no blocks for it then, and so
// does the kernel: the blocks of the next segment are not taken for its own.

// CHECK-LABEL: gpu.func @rest
// CHECK:         %[[REST:.*]] = affine.apply
// CHECK:         arith.maxsi %[[REST]], %{{.*}} : index
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
