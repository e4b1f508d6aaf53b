// RUN: nsa-opt %s | nsa-opt | FileCheck %s
// RUN: nsa-opt %s --verify-roundtrip

// CHECK-LABEL: nsa.step @dequant
// CHECK-SAME: in %cache : tensor<?x?xi8>
// CHECK-SAME: out %out : memref<?x?xbf16, strided<[?, 1]>>
nsa.step @dequant(in %tokens : index, in %cache : tensor<?x?xi8>,
                  in %ids[%tokens] : tensor<?xi64>,
                  out %out : memref<?x?xbf16, strided<[?, 1]>>) {
  // CHECK: nsa.dequant_paged %cache[%ids] layout #v32 page_size 64 : tensor<?x?xi8>, tensor<?xi64> -> tensor<?x576xbf16>
  %kv = nsa.dequant_paged %cache[%ids] layout #nsa.kv_layout<v32> page_size 64
      : tensor<?x?xi8>, tensor<?xi64> -> tensor<?x576xbf16>
  nsa.copy %kv to %out : tensor<?x576xbf16> to memref<?x?xbf16, strided<[?, 1]>>
}

// CHECK-LABEL: nsa.step @fixed
nsa.step @fixed(in %cache : tensor<?x37440xi8>, in %ids : tensor<7xi32>,
                 out %out : memref<7x512xbf16>) {
  // CHECK: layout #v4 page_size 64 : tensor<?x37440xi8>, tensor<7xi32> -> tensor<7x512xbf16>
  %kv = nsa.dequant_paged %cache[%ids] layout #nsa.kv_layout<v4> page_size 64
      : tensor<?x37440xi8>, tensor<7xi32> -> tensor<7x512xbf16>
  nsa.copy %kv to %out : tensor<7x512xbf16> to memref<7x512xbf16>
}
