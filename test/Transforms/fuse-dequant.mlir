// RUN: nsa-opt %s --pass-pipeline="builtin.module(nsa.step(nsa-form-launches{per-copy=true},cse,nsa-fuse-launches))" | FileCheck %s

// Dequantisations into slices of one workspace are segments of one launch, and do
// not join what has elements of another size.
// CHECK: nsa.launch @workspace {
// CHECK-NEXT: nsa.segment tile(%tokens0, %{{.*}}) {
// CHECK-NEXT: nsa.dequant_paged %cache0[%ids0]
// CHECK-NEXT: nsa.copy
// CHECK-NEXT: }
// CHECK-NEXT: nsa.segment tile(%tokens1, %{{.*}}) {
// CHECK-NEXT: nsa.dequant_paged %cache1[%ids1]
// CHECK-NEXT: nsa.copy
// CHECK-NEXT: }
// CHECK-NEXT: nsa.segment tile(%tokens0, %{{.*}}) {
// CHECK-NEXT: nsa.copy %table
// CHECK-NOT: nsa.launch
nsa.step @workspace(in %tokens0 : index, in %tokens1 : index,
                    in %cache0 : tensor<?x?xi8>, in %cache1 : tensor<?x?xi8>,
                    in %ids0[%tokens0] : tensor<?xi32>,
                    in %ids1[%tokens1] : tensor<?xi32>,
                    in %table[%tokens0, ?] : tensor<?x512xi32>,
                    out %compressed : memref<?x512xbf16>,
                    out %window : memref<?x512xbf16>,
                    out %other : memref<?x512xi32>) {
  %a = nsa.dequant_paged %cache0[%ids0] layout #nsa.kv_layout<v4> page_size 64
      : tensor<?x?xi8>, tensor<?xi32> -> tensor<?x512xbf16>
  %b = nsa.dequant_paged %cache1[%ids1] layout #nsa.kv_layout<v4> page_size 256
      : tensor<?x?xi8>, tensor<?xi32> -> tensor<?x512xbf16>
  nsa.copy %a to %compressed : tensor<?x512xbf16> to memref<?x512xbf16>
  nsa.copy %b to %window : tensor<?x512xbf16> to memref<?x512xbf16>
  nsa.copy %table to %other : tensor<?x512xi32> to memref<?x512xi32>
}
