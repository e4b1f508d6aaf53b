// RUN: nsa-opt %s --nsa-expand-metadata-sets | FileCheck %s

// Decode: no seqlens_expanded, a row for each request; a subset and an optional
// field.
// CHECK-LABEL: nsa.step @decode(
// CHECK-SAME: in %bs : index, in %max_len : index,
// CHECK-SAME: in %src_cache_seqlens[%bs] : tensor<?xi32>,
// CHECK-SAME: in %src_cu_seqlens_k[%bs + 1] : tensor<?xi32>,
// CHECK-SAME: in %src_nsa_cache_seqlens[%bs] : tensor<?xi32>,
// CHECK-SAME: in %src_nsa_cu_seqlens_k[%bs + 1] : tensor<?xi32>,
// CHECK-SAME: in %src_page_table_1[%bs, %max_len] : tensor<?x?xi32>,
// CHECK-SAME: in %src_real_page_table[%bs, ?] : tensor<?x?xi32>,
// CHECK-SAME: out %b0_cache_seqlens : memref<?xi32, strided<[?]>>,
// CHECK-SAME: out %b0_real_page_table : memref<?x?xi32, strided<[?, 1]>>,
// CHECK-SAME: out %b1_cu_seqlens_k : memref<?xi32, strided<[?]>>) {
nsa.step @decode(in %bs : index, in %max_len : index,
                 in %src[%bs, %max_len] : !nsa.metadata<decode, [real_page_table]>,
                 out %b0 : !nsa.metadata_ref<decode, [real_page_table]>,
                 out %b1 : !nsa.metadata_ref<decode, only [cu_seqlens_k]>) {
  // CHECK-NOT: nsa.copy_metadata
  // CHECK: nsa.copy %src_cache_seqlens to %b0_cache_seqlens :
  // CHECK: nsa.copy %src_cu_seqlens_k from 1 to %b0_cu_seqlens_k, %b1_cu_seqlens_k :
  // CHECK: nsa.copy %src_nsa_cache_seqlens to %b0_nsa_cache_seqlens :
  // CHECK: nsa.copy %src_nsa_cu_seqlens_k from 1 to %b0_nsa_cu_seqlens_k :
  // CHECK: nsa.copy %src_page_table_1 to %b0_page_table_1 :
  // CHECK: nsa.copy %src_real_page_table to %b0_real_page_table :
  nsa.copy_metadata %src to %b0, %b1
      : !nsa.metadata<decode, [real_page_table]>
      to !nsa.metadata_ref<decode, [real_page_table]>, !nsa.metadata_ref<decode, only [cu_seqlens_k]>
}

// The other modes: tables have the source's rows.
// CHECK-LABEL: nsa.step @verify(
// CHECK-SAME: in %s_cache_seqlens[%bs] : tensor<?xi32>,
// CHECK-SAME: in %s_seqlens_expanded[%m] : tensor<?xi32>,
// CHECK-SAME: in %s_nsa_cu_seqlens_k[%m + 1] : tensor<?xi32>,
// CHECK-SAME: in %s_page_table_1[?, %columns] : tensor<?x?xi32>,
// CHECK-SAME: in %s_flashmla_num_splits[%m + 1] : tensor<?xi32>,
// CHECK-SAME: in %s_flashmla_metadata : tensor<?xi32>,
// CHECK-SAME: out %d_flashmla_metadata : memref<?xi32>)
nsa.step @verify(in %bs : index, in %columns : index, in %m : index,
                 in %s[%bs, %columns, %m] : !nsa.metadata<target_verify, [flashmla_num_splits, flashmla_metadata]>,
                 out %d : !nsa.metadata_ref<target_verify, [flashmla_num_splits, flashmla_metadata]>) {
  // CHECK: nsa.copy %s_seqlens_expanded to %d_seqlens_expanded
  // CHECK: nsa.copy %s_flashmla_num_splits to %d_flashmla_num_splits
  // CHECK: nsa.copy %s_flashmla_metadata to %d_flashmla_metadata
  nsa.copy_metadata %s to %d : !nsa.metadata<target_verify, [flashmla_num_splits, flashmla_metadata]>
      to !nsa.metadata_ref<target_verify, [flashmla_num_splits, flashmla_metadata]>
}
