// What the lanes of a thread's vector share of a formula that each of them
// reads by itself is loaded once, and before it is known which of them are
// inside; loads are on their way together.

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

// Reads that wait for as many others are on their way together, whatever the
// order of the text.
// CHECK-LABEL:   gpu.func @two_tokens
// CHECK:           memref.load %{{.*}}, %c0] {{.*}} : memref<?x?xi32
// CHECK-NOT:       memref.load {{.*}} : memref<?xi16
// CHECK:           memref.load %{{.*}}, %c1] {{.*}} : memref<?x?xi32
// CHECK:           memref.load {{.*}} : memref<?xi16
nsa.step @two_tokens(in %n : index, in %ids[%n] : tensor<?xi64>, in %table : tensor<?x?xi32>,
                     in %slots : tensor<?xi16>, out %out : memref<?xi16>) {
  %sums = nsa.map(%r) in (%n) : tensor<?xi16> {
    %zero = arith.constant 0 : index
    %one = arith.constant 1 : index
    %none = arith.constant 0 : i32
    %no_slot = arith.constant 0 : i16
    %id = nsa.read %ids[%r] : tensor<?xi64>
    %row = arith.index_cast %id : i64 to index
    %first = nsa.read %table[%row, %zero] else %none : tensor<?x?xi32>
    %first_place = arith.index_cast %first : i32 to index
    %first_slot = nsa.read %slots[%first_place] else %no_slot : tensor<?xi16>
    %second = nsa.read %table[%row, %one] else %none : tensor<?x?xi32>
    %second_place = arith.index_cast %second : i32 to index
    %second_slot = nsa.read %slots[%second_place] else %no_slot : tensor<?xi16>
    %sum = arith.addi %first_slot, %second_slot : i16
    nsa.yield %sum : i16
  }
  nsa.copy %sums to %out : tensor<?xi16> to memref<?xi16>
}
