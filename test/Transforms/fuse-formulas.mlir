// What backends say alike is computed once, and columns of another table are
// picked as it passes, for formulas as for named operations.

// RUN: nsa-opt %s --pass-pipeline='builtin.module(nsa.step(canonicalize,cse,nsa-merge-copies,nsa-form-launches{per-copy=true},cse,nsa-fuse-launches,cse))' | FileCheck %s
// RUN: nsa-opt %s --nsa-to-ptx | FileCheck %s --check-prefix=PTX

// CHECK-LABEL: nsa.step @tables
// CHECK:         nsa.segment tile(%n, %m)
// CHECK:           %[[TABLE:.*]] = nsa.map(%{{.*}}, %{{.*}}) in (%n, %m)
// CHECK:           nsa.copy %[[TABLE]] to %a, %b
// CHECK-NOT:       nsa.segment
// CHECK:           %[[PAGES:.*]] = nsa.map
// CHECK:             nsa.read %[[TABLE]]
// CHECK:           nsa.copy %[[PAGES]] to %pages
// CHECK-NOT:       nsa.segment
// CHECK:       nsa.step @other_stride
nsa.step @tables(in %n : index, in %m : index, in %tokens[%n, %m] : tensor<?x?xi32>,
                 out %a : memref<?x?xi32>, out %b : memref<?x?xi32>,
                 out %pages : memref<?x?xi32>) {
  %one = nsa.map(%r, %c) in (%n, %m) : tensor<?x?xi32> {
    %token = nsa.read %tokens[%r, %c] : tensor<?x?xi32>
    %next = arith.addi %token, %token : i32
    nsa.yield %next : i32
  }
  %two = nsa.map(%r, %c) in (%n, %m) : tensor<?x?xi32> {
    %token = nsa.read %tokens[%r, %c] : tensor<?x?xi32>
    %next = arith.addi %token, %token : i32
    nsa.yield %next : i32
  }
  %size = affine.apply affine_map<()[s0] -> (s0 ceildiv 64)>()[%m]
  %page = nsa.map(%r, %c) in (%n, %size) : tensor<?x?xi32> {
    %stride = arith.constant 64 : index
    %none = arith.constant 0 : i32
    %column = arith.muli %c, %stride : index
    %token = nsa.read %two[%r, %column] else %none : tensor<?x?xi32>
    nsa.yield %token : i32
  }
  nsa.copy %one to %a : tensor<?x?xi32> to memref<?x?xi32>
  nsa.copy %two to %b : tensor<?x?xi32> to memref<?x?xi32>
  nsa.copy %page to %pages : tensor<?x?xi32> to memref<?x?xi32>
}

// Fewer columns than the stride leaves are no pick of all.
// CHECK-COUNT-2: nsa.segment tile
nsa.step @other_stride(in %n : index, in %m : index,
                       in %tokens[%n, %m] : tensor<?x?xi32>,
                       out %a : memref<?x?xi32>, out %pages : memref<?x?xi32>) {
  %one = nsa.map(%r, %c) in (%n, %m) : tensor<?x?xi32> {
    %token = nsa.read %tokens[%r, %c] : tensor<?x?xi32>
    %next = arith.addi %token, %token : i32
    nsa.yield %next : i32
  }
  %size = affine.apply affine_map<()[s0] -> (s0 ceildiv 128)>()[%m]
  %page = nsa.map(%r, %c) in (%n, %size) : tensor<?x?xi32> {
    %stride = arith.constant 64 : index
    %none = arith.constant 0 : i32
    %column = arith.muli %c, %stride : index
    %token = nsa.read %one[%r, %column] else %none : tensor<?x?xi32>
    nsa.yield %token : i32
  }
  nsa.copy %one to %a : tensor<?x?xi32> to memref<?x?xi32>
  nsa.copy %page to %pages : tensor<?x?xi32> to memref<?x?xi32>
}

// Contiguous reads are accesses of 16 bytes.
// PTX: ld.global.nc.v4
// PTX: st.global.v4

// Rows that blocks make from different sums are segments by themselves, so that
// no block waits for both; of the same sums they are one.
// CHECK-LABEL: nsa.step @sums
// CHECK:         nsa.segment tile(%n, %c2)
// CHECK-COUNT-2:   nsa.copy
// CHECK:         nsa.segment tile(%n, %c2)
// CHECK:           nsa.copy
// CHECK-NOT:     nsa.segment
nsa.step @sums(in %n : index, in %a[%n] : tensor<?xi32>, in %b[%n] : tensor<?xi32>,
               out %of_a : memref<?x2xi32>, out %too : memref<?x2xi32>,
               out %of_b : memref<?x2xi32>) {
  %sums_a = nsa.scan %a : tensor<?xi32> -> tensor<?xi32>
  %sums_b = nsa.scan %b : tensor<?xi32> -> tensor<?xi32>
  %x = nsa.map(%r, %c) in (%n, 2) : tensor<?x2xi32> {
    %sum = nsa.read %sums_a[%r] : tensor<?xi32>
    nsa.yield %sum : i32
  }
  %y = nsa.map(%r, %c) in (%n, 2) : tensor<?x2xi32> {
    %sum = nsa.read %sums_a[%r] : tensor<?xi32>
    %more = arith.addi %sum, %sum : i32
    nsa.yield %more : i32
  }
  %z = nsa.map(%r, %c) in (%n, 2) : tensor<?x2xi32> {
    %sum = nsa.read %sums_b[%r] : tensor<?xi32>
    nsa.yield %sum : i32
  }
  nsa.copy %x to %of_a : tensor<?x2xi32> to memref<?x2xi32>
  nsa.copy %y to %too : tensor<?x2xi32> to memref<?x2xi32>
  nsa.copy %z to %of_b : tensor<?x2xi32> to memref<?x2xi32>
}
