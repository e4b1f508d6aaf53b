// Metadata of a draft-extend step to one backend and, of its lengths alone, to a second.
nsa.step @copy_draft_extend(
    in %bs : index,
    in %max_seqlen_k : index,
    in %rows : index,
    in %src[%bs, %max_seqlen_k, %rows] : !nsa.metadata<draft_extend>,
    out %b0 : !nsa.metadata_ref<draft_extend>,
    out %b1 : !nsa.metadata_ref<draft_extend, only [cache_seqlens, seqlens_expanded]>) {
  nsa.copy_metadata %src to %b0, %b1
      : !nsa.metadata<draft_extend>
      to !nsa.metadata_ref<draft_extend>,
         !nsa.metadata_ref<draft_extend, only [cache_seqlens, seqlens_expanded]>
}
