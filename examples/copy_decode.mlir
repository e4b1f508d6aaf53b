// Decode metadata, computed before, to three backends with eight fields each: 24 copies, one kernel.
//
// Sizes: `bs` requests, `max_len` columns of the page table. Backends may have any strides and be larger.
nsa.step @copy_decode(
    in %bs : index,
    in %max_len : index,
    in %src[%bs, %max_len] : !nsa.metadata<decode, [real_page_table, flashmla_num_splits, flashmla_metadata]>,
    out %b0 : !nsa.metadata_ref<decode, [real_page_table, flashmla_num_splits, flashmla_metadata]>,
    out %b1 : !nsa.metadata_ref<decode, [real_page_table, flashmla_num_splits, flashmla_metadata]>,
    out %b2 : !nsa.metadata_ref<decode, [real_page_table, flashmla_num_splits, flashmla_metadata]>) {
  nsa.copy_metadata %src to %b0, %b1, %b2
      : !nsa.metadata<decode, [real_page_table, flashmla_num_splits, flashmla_metadata]>
      to !nsa.metadata_ref<decode, [real_page_table, flashmla_num_splits, flashmla_metadata]>,
         !nsa.metadata_ref<decode, [real_page_table, flashmla_num_splits, flashmla_metadata]>,
         !nsa.metadata_ref<decode, [real_page_table, flashmla_num_splits, flashmla_metadata]>
}
