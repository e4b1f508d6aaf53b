// Metadata of a target-verify step to two backends, one of which keeps no real page table.
//
// `rows` expanded rows: bs times the draft tokens of a request.
nsa.step @copy_target_verify(
    in %bs : index,
    in %max_seqlen_k : index,
    in %rows : index,
    in %src[%bs, %max_seqlen_k, %rows] : !nsa.metadata<target_verify, [real_page_table]>,
    out %b0 : !nsa.metadata_ref<target_verify, [real_page_table]>,
    out %b1 : !nsa.metadata_ref<target_verify>) {
  nsa.copy_metadata %src to %b0, %b1
      : !nsa.metadata<target_verify, [real_page_table]>
      to !nsa.metadata_ref<target_verify, [real_page_table]>, !nsa.metadata_ref<target_verify>
}
