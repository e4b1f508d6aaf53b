// Sums of more elements than blocks should each add up are stored by a launch before.

// RUN: nsa-opt %s --pass-pipeline='builtin.module(nsa.step(nsa-store-sums))' | FileCheck %s
// RUN: nsa-opt %s --pass-pipeline='builtin.module(nsa.step(nsa-store-sums{most=1000000}))' | FileCheck %s --check-prefix=NONE
// RUN: nsa-opt %s --pass-pipeline='builtin.module(nsa.step(nsa-store-sums,nsa-merge-copies,nsa-form-launches{per-copy},nsa-fuse-launches))' \
// RUN:   --remarks-filter=nsa 2>%t.remarks | FileCheck %s --check-prefix=LAUNCHES
// RUN: FileCheck %s --check-prefix=REMARK --input-file=%t.remarks

// NONE-NOT: tile_sums

// CHECK-LABEL: nsa.step @owners(
// CHECK-SAME:    inout %workspace : memref<?xi32, strided<[?]>>
// CHECK:         %[[TILES:.*]] = nsa.tile_sums %counts : tensor<?xi32> -> tensor<?xi32>
// CHECK-NEXT:    nsa.copy %[[TILES]] to %workspace
// CHECK-NEXT:    nsa.scan %counts by %workspace : tensor<?xi32> by memref<?xi32, strided<[?]>> -> tensor<?xi32>

// LAUNCHES-LABEL: nsa.step @owners(
// LAUNCHES:         nsa.launch @owners_0
// LAUNCHES-NEXT:      nsa.segment tile(%{{.*}})
// LAUNCHES-NEXT:        nsa.tile_sums
// LAUNCHES-NEXT:        nsa.copy
// LAUNCHES:         nsa.launch @owners_1
// LAUNCHES:           nsa.scan %counts by %workspace
// LAUNCHES:           nsa.search

// REMARK-DAG: StoreSums{{.*}}a launch before stores sums of each 32 elements to port 'workspace', because 12290 elements are expected
// REMARK-DAG: FuseLaunches{{.*}}it reads sums that the launch before stores
nsa.step @owners(in %n : index {expected = 12289}, in %m : index, in %counts[%n + 1] : tensor<?xi32>,
                 out %x : memref<?xi32>) {
  %off = nsa.scan %counts : tensor<?xi32> -> tensor<?xi32>
  %owner = nsa.map(%r) in (%m) : tensor<?xi32> {
    %after = nsa.search %off for %r : tensor<?xi32>
    %number = arith.index_cast %after : index to i32
    nsa.yield %number : i32
  }
  nsa.copy %owner to %x : tensor<?xi32> to memref<?xi32>
}

// Sums of what sums say take a launch more; a name that is taken gets a number; what reads no sums is in the first launch.
// CHECK-LABEL: nsa.step @sums_of_searches(
// CHECK-SAME:    inout %workspace1 : memref<?xi64, strided<[?]>>, inout %workspace2 : memref<?xi64, strided<[?]>>
// LAUNCHES-LABEL: nsa.step @sums_of_searches(
// LAUNCHES:         nsa.launch @sums_of_searches_0
// LAUNCHES:         nsa.launch @sums_of_searches_1
// LAUNCHES:           nsa.tile_sums
// LAUNCHES:         nsa.launch @sums_of_searches_2
// LAUNCHES-NOT:     nsa.launch
nsa.step @sums_of_searches(in %counts : tensor<20000xi64>, out %workspace : memref<?xi64>) {
  %off = nsa.scan %counts : tensor<20000xi64> -> tensor<20001xi64>
  %owner = nsa.map(%r) in (20000) : tensor<20000xi64> {
    %after = nsa.search %off for %r : tensor<20001xi64>
    %number = arith.index_cast %after : index to i64
    nsa.yield %number : i64
  }
  %sums = nsa.scan inclusive %owner : tensor<20000xi64> -> tensor<20000xi64>
  nsa.copy %sums to %workspace : tensor<20000xi64> to memref<?xi64>
}

// As many as are few, or nothing known, or rows of a table: one launch.
// CHECK-LABEL: nsa.step @others(
// CHECK-NOT:     tile_sums
// LAUNCHES-LABEL: nsa.step @others(
nsa.step @others(in %n : index {expected = 12288}, in %m : index, in %a[%n] : tensor<?xi64>,
                 in %b[%m] : tensor<?xi64>, in %c[?, %n] : tensor<?x?xi32>, in %d : tensor<?xi64>,
                 out %x : memref<?xi64>, out %y : memref<?xi64>, out %z : memref<?x?xi32>, out %w : memref<?xi64>) {
  %0 = nsa.scan %a : tensor<?xi64> -> tensor<?xi64>
  %1 = nsa.scan %b : tensor<?xi64> -> tensor<?xi64>
  %2 = nsa.scan %c : tensor<?x?xi32> -> tensor<?x?xi32>
  %3 = nsa.scan %d : tensor<?xi64> -> tensor<?xi64>
  nsa.copy %0 to %x : tensor<?xi64> to memref<?xi64>
  nsa.copy %1 to %y : tensor<?xi64> to memref<?xi64>
  nsa.copy %2 to %z : tensor<?x?xi32> to memref<?x?xi32>
  nsa.copy %3 to %w : tensor<?xi64> to memref<?xi64>
}

// Launches that stand in the text stay as they are.
// CHECK-LABEL: nsa.step @formed(
// CHECK-NOT:     tile_sums
// LAUNCHES-LABEL: nsa.step @formed(
nsa.step @formed(in %x : tensor<20000xi64>, out %d : memref<?xi64>) {
  %n = arith.constant 20001 : index
  nsa.launch @formed {
    nsa.segment tile(%n) {
      %s = nsa.scan %x : tensor<20000xi64> -> tensor<20001xi64>
      nsa.copy %s to %d : tensor<20001xi64> to memref<?xi64>
    }
  }
}
