// RUN: nsa-opt %s --pass-pipeline="builtin.module(nsa.step(nsa-form-launches),nsa-launch-to-gpu,canonicalize,cse)" | FileCheck %s

// A tile is 12 rows of 64 vectors, three vectors a thread.
// CHECK-LABEL: gpu.func @v4_out
// CHECK-SAME: memref<?x?xi8, strided<[?, 1]>>
// bf16 is 16 bits of storage.
// CHECK-SAME: memref<?x512xi16>
// CHECK-COUNT-3: arith.cmpi ult, %{{.*}}, %{{.*}} : index
// The ids of all vectors first.
// CHECK-COUNT-3: memref.load %{{.*}} : memref<?xi32, strided<[?]>>
// One branch on alignment; under it all loads, each on its condition.
// CHECK: scf.if {{.*}} -> (vector<2xi32>, vector<1xi8>, vector<4xi32>, vector<2xi32>, vector<1xi8>, vector<4xi32>, vector<2xi32>, vector<1xi8>, vector<4xi32>) {
// CHECK-COUNT-3: vector.load %{{.*}} {alignment = 8 : i64} : memref<?x?xi8, strided<[?, 1]>>, vector<8xi8>
// CHECK: } else {
// CHECK: vector.load %{{.*}} {alignment = 1 : i64} : memref<?x?xi8, strided<[?, 1]>>, vector<8xi8>
// CHECK: scf.yield %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : vector<2xi32>
// Then conversion, with no branch before the stores.
// CHECK-NOT: scf.if
// CHECK-COUNT-3: arith.truncf %{{.*}} : vector<8xf32> to vector<8xbf16>
// CHECK: scf.if
// CHECK: vector.store %{{.*}} {alignment = 16 : i64} : memref<?x512xi16>, vector<8xi16>
nsa.step @v4(in %tokens : index, in %cache : tensor<?x?xi8>,
             in %ids[%tokens] : tensor<?xi32>, out %out : memref<?x512xbf16>) {
  %kv = nsa.dequant_paged %cache[%ids] layout #nsa.kv_layout<v4> page_size 64
      : tensor<?x?xi8>, tensor<?xi32> -> tensor<?x512xbf16>
  nsa.copy %kv to %out : tensor<?x512xbf16> to memref<?x512xbf16>
}

// A layout with fields that no vector fits into goes column by column.
// CHECK-LABEL: gpu.func @odd_out
// CHECK-NOT: vector<8xi8>
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
