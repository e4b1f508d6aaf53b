// Three backends with eight fields: 24 copies, 24 kernels without fusion, one with.
//
// RUN: nsa-opt %examples/copy_decode.mlir --nsa-to-ptx --remarks-filter=nsa 2>&1 | FileCheck %s --check-prefix=REMARK
// RUN: nsa-compile %examples/copy_decode.mlir -o %t --stats | FileCheck %s --check-prefix=FUSED
// RUN: nsa-compile %examples/copy_decode.mlir -o %t --no-fuse --stats | FileCheck %s --check-prefix=UNFUSED
// RUN: nsa-opt %examples/copy_decode.mlir --pass-pipeline='builtin.module(nsa.step(nsa-expand-metadata-sets,cse,nsa-merge-copies,nsa-form-launches{per-copy=true},cse,nsa-fuse-launches,cse))' | FileCheck %s

// REMARK: fused 8 launches into 1 with 5 segments
// FUSED: copy_decode: 1 kernel(s)
// UNFUSED: copy_decode: 24 kernel(s)

// Vectors over the same rows share a block.
// CHECK: nsa.launch @copy_decode {
// CHECK-NEXT: nsa.segment tile(%bs) {
// CHECK-NEXT:   nsa.copy %src_cache_seqlens to %b0_cache_seqlens, %b1_cache_seqlens, %b2_cache_seqlens
// CHECK-NEXT:   nsa.copy %src_nsa_cache_seqlens to
// CHECK-NEXT: }
// CHECK-NEXT: nsa.segment tile(%[[END:.*]]) {
// CHECK-NEXT:   nsa.copy %src_cu_seqlens_k from 1 to
// CHECK-NEXT:   nsa.copy %src_nsa_cu_seqlens_k from 1 to
// CHECK-NEXT:   nsa.copy %src_flashmla_num_splits to
// CHECK-NEXT: }
// CHECK-NEXT: nsa.segment tile(%bs, %max_len) {
// CHECK-NEXT:   nsa.copy %src_page_table_1 to
// CHECK-NEXT: }
// CHECK-NEXT: nsa.segment tile(%bs, %{{.*}}) {
// CHECK-NEXT:   nsa.copy %src_real_page_table to
// CHECK-NEXT: }
// CHECK-NEXT: nsa.segment tile(%{{.*}}) {
// CHECK-NEXT:   nsa.copy %src_flashmla_metadata to
// CHECK-NEXT: }
// CHECK-NEXT: }
// CHECK-NOT: nsa.launch
