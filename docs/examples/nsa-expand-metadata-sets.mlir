// nsa-opt --pass-pipeline='builtin.module(nsa.step(nsa-expand-metadata-sets))'
nsa.step @copy(in %bs : index, in %max_len : index,
               in %src[%bs, %max_len] : !nsa.metadata<decode, only [cache_seqlens, cu_seqlens_k, page_table_1]>,
               out %b0 : !nsa.metadata_ref<decode, only [cache_seqlens, page_table_1]>,
               out %b1 : !nsa.metadata_ref<decode, only [cu_seqlens_k, page_table_1]>) {
  nsa.copy_metadata %src to %b0, %b1
      : !nsa.metadata<decode, only [cache_seqlens, cu_seqlens_k, page_table_1]>
      to !nsa.metadata_ref<decode, only [cache_seqlens, page_table_1]>,
         !nsa.metadata_ref<decode, only [cu_seqlens_k, page_table_1]>
}
