// RUN: nsa-opt %s --pass-pipeline="builtin.module(nsa.step(nsa-form-launches),nsa-launch-to-gpu,canonicalize,cse)" | FileCheck %s

// A tile is 8 rows of 32 vectors, one a thread, each as wide as a load of cache.
// CHECK-LABEL: gpu.func @v4_out
// CHECK-SAME: memref<?x?xi8, strided<[?, 1]>>
// bf16 is 16 bits of storage.
// CHECK-SAME: memref<?x512xi16>
// CHECK-DAG: %[[TILE:.*]] = arith.muli %{{.*}}, %c8 : index
// CHECK-DAG: arith.divui %{{.*}}, %c32_i32 : i32
// The id first, compared with what the cache holds.
// CHECK: memref.load %{{.*}} : memref<?xi32, strided<[?]>>
// CHECK: memref.dim %{{.*}}, %c0 : memref<?x?xi8, strided<[?, 1]>>
// CHECK: arith.cmpi ult
// One branch on alignment; under it all loads, each on its condition.
// CHECK: scf.if {{.*}} -> (vector<4xi32>, vector<1xi8>, vector<8xi32>) {
// CHECK: scf.if {{.*}} -> (vector<4xi32>, vector<1xi8>) {
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x?xi8, strided<[?, 1]>>, vector<16xi8>
// CHECK: vector.load %{{.*}} {alignment = 1 : i64} : memref<?x?xi8, strided<[?, 1]>>, vector<1xi8>
// CHECK: scf.if {{.*}} -> (vector<8xi32>) {
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x?xi8, strided<[?, 1]>>, vector<32xi8>
// CHECK: } else {
// CHECK: vector.load %{{.*}} {alignment = 1 : i64} : memref<?x?xi8, strided<[?, 1]>>, vector<16xi8>
// Then conversion: with NaN or a large scale by two multiplications, else by one.
// CHECK: vector.reduction <or>
// CHECK: scf.if {{.*}} -> (vector<8xi32>) {
// CHECK-COUNT-2: arith.mulf %{{.*}} : vector<16xf32>
// CHECK: arith.truncf %{{.*}} : vector<16xf32> to vector<16xbf16>
// CHECK: } else {
// CHECK-COUNT-1: arith.mulf %{{.*}} : vector<16xf32>
// CHECK: arith.truncf %{{.*}} : vector<16xf32> to vector<16xbf16>
// CHECK: arith.ori %{{.*}} : vector<8xi32>
// Two stores of 16 bytes, or lane by lane.
// CHECK: scf.if
// CHECK-COUNT-2: vector.store %{{.*}} {alignment = 16 : i64} : memref<?x512xi16>, vector<8xi16>
// CHECK: } else {
// CHECK-COUNT-16: memref.store %{{.*}} : memref<?x512xi16>
nsa.step @v4(in %tokens : index, in %cache : tensor<?x?xi8>,
             in %ids[%tokens] : tensor<?xi32>, out %out : memref<?x512xbf16>) {
  %kv = nsa.dequant_paged %cache[%ids] layout #nsa.kv_layout<v4> page_size 64
      : tensor<?x?xi8>, tensor<?xi32> -> tensor<?x512xbf16>
  nsa.copy %kv to %out : tensor<?x512xbf16> to memref<?x512xbf16>
}

// A layout with fields that no vector fits into goes column by column.
// CHECK-LABEL: gpu.func @odd_out
// CHECK-NOT: vector<16xi8>
// CHECK: vector.load %{{.*}} : memref<?x?xi8, strided<[?, 1]>>, vector<1xi8>
nsa.step @odd(in %tokens : index, in %cache : tensor<?x?xi8>,
              in %ids[%tokens] : tensor<?xi32>, out %out : memref<?x10xbf16>) {
  %kv = nsa.dequant_paged %cache[%ids]
      layout #nsa.kv_layout<data_bytes = 12, fields = [e4m3[9] at 1, bf16[1] at 10],
                            scales = ue8m0[3] at 0 per 3 footer 3>
      page_size 7
      : tensor<?x?xi8>, tensor<?xi32> -> tensor<?x10xbf16>
  nsa.copy %kv to %out : tensor<?x10xbf16> to memref<?x10xbf16>
}
