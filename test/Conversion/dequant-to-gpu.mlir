// RUN: nsa-opt %s --pass-pipeline="builtin.module(nsa.step(nsa-form-launches,nsa-assign-tiles),nsa-launch-to-gpu,canonicalize,cse)" | FileCheck %s

// A tile is 4 rows of 32 vectors, one a thread, each as wide as a load of cache.
// CHECK-LABEL: gpu.func @v4_out
// CHECK-SAME: memref<?x?xi8, strided<[?, 1]>>
// bf16 is 16 bits of storage.
// CHECK-SAME: memref<?x512xi16>
// CHECK-DAG: %[[TILE:.*]] = arith.muli %{{.*}}, %c4 : index
// CHECK-DAG: arith.divui %{{.*}}, %c32_i32 : i32
// The id first, compared with what the cache holds.
// CHECK: memref.load %{{.*}} : memref<?xi32, strided<[?]>>
// CHECK: memref.dim %{{.*}}, %c0 : memref<?x?xi8, strided<[?, 1]>>
// CHECK: arith.cmpi ult
// Fields differ in addresses, which are 32 bits wide within a page.
// CHECK: arith.select {{.*}} : i32
// One branch on alignment; under it all loads, each on its condition: 16 bytes, 16
// more of bf16, a scale of e4m3.
// CHECK: scf.if {{.*}} -> (vector<4xi32>, vector<4xi32>, vector<1xi8>) {
// CHECK: scf.if {{.*}} -> (vector<4xi32>) {
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x?xi8, strided<[?, 1]>>, vector<16xi8>
// CHECK: scf.if {{.*}} -> (vector<4xi32>) {
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x?xi8, strided<[?, 1]>>, vector<16xi8>
// CHECK: scf.if {{.*}} -> (vector<1xi8>) {
// CHECK: vector.load %{{.*}} {alignment = 1 : i64} : memref<?x?xi8, strided<[?, 1]>>, vector<1xi8>
// CHECK: } else {
// CHECK: vector.load %{{.*}} {alignment = 1 : i64} : memref<?x?xi8, strided<[?, 1]>>, vector<16xi8>
// Then conversion of e4m3: with NaN in float32, else in bf16, two numbers a word.
// CHECK: scf.if {{.*}} -> (vector<8xi32>) {
// CHECK: vector.reduction <or>
// CHECK: scf.if {{.*}} -> (vector<8xi32>) {
// CHECK-COUNT-2: arith.mulf %{{.*}} : vector<16xf32>
// CHECK: arith.truncf %{{.*}} : vector<16xf32> to vector<16xbf16>
// CHECK: } else {
// CHECK-COUNT-4: arith.mulf %{{.*}} : vector<8xbf16>
// CHECK: vector.interleave %{{.*}} : vector<8xbf16> -> vector<16xbf16>
// Each of two threads takes 16 bytes of both vectors.
// CHECK-COUNT-4: gpu.shuffle xor %{{.*}}, %c1_i32, %c32_i32 : i32
// Two stores of 16 bytes, one vector apart, or lane by lane.
// CHECK: scf.if
// CHECK: vector.store %{{.*}}, %[[OUT:.*]][%[[ROW:.*]], %[[COLUMN:.*]]] {alignment = 16 : i64} : memref<?x512xi16>, vector<8xi16>
// CHECK: %[[NEXT:.*]] = arith.addi %[[COLUMN]], %c16 : index
// CHECK: vector.store %{{.*}}, %[[OUT]][%[[ROW]], %[[NEXT]]] {alignment = 16 : i64} : memref<?x512xi16>, vector<8xi16>
// CHECK: } else {
// CHECK-COUNT-16: memref.store %{{.*}} : memref<?x512xi16>
nsa.step @v4(in %tokens : index, in %cache : tensor<?x?xi8>,
             in %ids[%tokens] : tensor<?xi32>, out %out : memref<?x512xbf16>) {
  %kv = nsa.dequant_paged %cache[%ids] layout #nsa.kv_layout<v4> page_size 64
      : tensor<?x?xi8>, tensor<?xi32> -> tensor<?x512xbf16>
  nsa.copy %kv to %out : tensor<?x512xbf16> to memref<?x512xbf16>
}

// Scales that are no powers of two: one multiplication in float32 and one rounding.
// CHECK-LABEL: gpu.func @v32_out
// CHECK: scf.if {{.*}} -> (vector<8xi32>) {
// CHECK: vector.reduction <or>
// CHECK: scf.if {{.*}} -> (vector<8xi32>) {
// CHECK-COUNT-2: arith.mulf %{{.*}} : vector<16xf32>
// CHECK: } else {
// CHECK-COUNT-1: arith.mulf %{{.*}} : vector<16xf32>
// CHECK: arith.truncf %{{.*}} : vector<16xf32> to vector<16xbf16>
nsa.step @v32(in %tokens : index, in %cache : tensor<?x?xi8>,
              in %ids[%tokens] : tensor<?xi32>, out %out : memref<?x576xbf16>) {
  %kv = nsa.dequant_paged %cache[%ids] layout #nsa.kv_layout<v32> page_size 64
      : tensor<?x?xi8>, tensor<?xi32> -> tensor<?x576xbf16>
  nsa.copy %kv to %out : tensor<?x576xbf16> to memref<?x576xbf16>
}

// 3 vectors a row: neighbours may be in two rows, so nobody exchanges halves.
// CHECK-LABEL: gpu.func @uneven_out
// CHECK-NOT: gpu.shuffle
// CHECK: vector.store %{{.*}}, %[[OUT:.*]][%[[ROW:.*]], %[[COLUMN:.*]]] {alignment = 16 : i64} : memref<?x48xi16>, vector<8xi16>
// CHECK: %[[NEXT:.*]] = arith.addi %[[COLUMN]], %c8 : index
// CHECK: vector.store %{{.*}}, %[[OUT]][%[[ROW]], %[[NEXT]]] {alignment = 16 : i64} : memref<?x48xi16>, vector<8xi16>
nsa.step @uneven(in %tokens : index, in %cache : tensor<?x?xi8>,
                 in %ids[%tokens] : tensor<?xi32>, out %out : memref<?x48xbf16>) {
  %kv = nsa.dequant_paged %cache[%ids]
      layout #nsa.kv_layout<data_bytes = 64, fields = [e4m3[48] at 0],
                            scales = ue8m0[3] at 48 per 16 inline>
      page_size 64
      : tensor<?x?xi8>, tensor<?xi32> -> tensor<?x48xbf16>
  nsa.copy %kv to %out : tensor<?x48xbf16> to memref<?x48xbf16>
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
