// Small arrays of a known size have a block each, which no tiling cuts.

// RUN: nsa-opt %s --nsa-form-launches=per-copy --nsa-fuse-launches --nsa-assign-tiles | FileCheck %s
// RUN: nsa-opt %s --nsa-form-launches=per-copy --nsa-fuse-launches --nsa-assign-tiles --nsa-launch-to-gpu | FileCheck %s --check-prefix=GPU
// RUN: nsa-opt %s --nsa-form-launches=per-copy --nsa-fuse-launches --nsa-assign-tiles --nsa-launch-to-loops | FileCheck %s --check-prefix=HOST

// CHECK: nsa.segment single(%{{.*}}) {
// GPU: gpu.func @small
// GPU: memref.store
// HOST: func.func @small.small
// HOST: scf.for
// HOST: memref.store
nsa.step @small(in %lens : tensor<8xi64>, out %a : memref<8xi32>) {
  %len = nsa.seqlens %lens plus 1 : tensor<8xi64> -> tensor<8xi32>
  nsa.copy %len to %a : tensor<8xi32> to memref<8xi32>
}
