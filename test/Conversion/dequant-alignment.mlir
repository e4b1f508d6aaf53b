// Tokens of 200 bytes are at multiples of 8: loads take as much, and a remark says
// that it is not more.

// RUN: nsa-opt %s --remarks-filter=nsa -o %t 2> %t.remarks \
// RUN:   --pass-pipeline='builtin.module(nsa.step(nsa-form-launches,nsa-assign-tiles),nsa-launch-to-gpu)'
// RUN: FileCheck %s --input-file %t
// RUN: FileCheck %s --input-file %t.remarks --check-prefix=REMARK

// CHECK: vector.load %{{.*}} {alignment = 8 : i64} : memref<?x?xi8, strided<[?, 1]>>, vector<16xi8>
// REMARK: [Missed] DequantPaged | Category:nsa | Reason="fields begin at multiples of 8 bytes only", Remark="loads 8 bytes at a time, not 16"
nsa.step @s(in %cache : tensor<?x?xi8>, in %ids : tensor<?xi32>, out %o : memref<?x192xbf16>) {
  %kv = nsa.dequant_paged %cache[%ids] layout #nsa.kv_layout<data_bytes = 200,
      fields = [e4m3[192] at 0], scales = f32[2] at 192 per 96 inline> page_size 64
      : tensor<?x?xi8>, tensor<?xi32> -> tensor<?x192xbf16>
  nsa.copy %kv to %o : tensor<?x192xbf16> to memref<?x192xbf16>
}
