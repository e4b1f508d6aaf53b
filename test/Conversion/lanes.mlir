// What the lanes of a thread's vector share of a formula that each of them
// reads by itself is loaded once, and before it is known which of them are
// inside.

// RUN: nsa-opt %s --nsa-form-launches=per-copy --cse --nsa-fuse-launches --nsa-assign-tiles --nsa-launch-to-gpu --canonicalize --cse | FileCheck %s

// CHECK-LABEL:   gpu.func @half_pages
// CHECK-NOT:       scf.if
// CHECK:           memref.load {{.*}} : memref<?xi64
// CHECK:           scf.if
// CHECK-NOT:       : memref<?xi64
// CHECK:           gpu.return
nsa.step @half_pages(in %n : index, in %m : index, in %ids[%n] : tensor<?xi64>,
                     in %table : tensor<?x?xi32>, out %out : memref<?x?xi32>) {
  %pages = nsa.map(%r, %p) in (%n, %m) : tensor<?x?xi32> {
    %none = arith.constant 0 : i32
    %id = nsa.read %ids[%r] : tensor<?xi64>
    %row = arith.index_cast %id : i64 to index
    %page = nsa.read %table[%row, %p] else %none : tensor<?x?xi32>
    nsa.yield %page : i32
  }
  %size = affine.apply affine_map<()[s0] -> (s0 * 2 + 5)>()[%m]
  %halves = nsa.map(%r, %j) in (%n, %size) : tensor<?x?xi32> {
    %two = arith.constant 2 : index
    %none = arith.constant -1 : i32
    %p = arith.floordivsi %j, %two : index
    %page = nsa.read %pages[%r, %p] else %none : tensor<?x?xi32>
    nsa.yield %page : i32
  }
  nsa.copy %halves to %out : tensor<?x?xi32> to memref<?x?xi32>
}
