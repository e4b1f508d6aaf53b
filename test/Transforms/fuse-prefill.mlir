// What a prefill chunk needs for all of its layers is one launch, and so is what
// a layer needs: nothing in either waits for another block.

// RUN: nsa-opt %examples/prefill_chunk.mlir --pass-pipeline='builtin.module(nsa.step(cse,nsa-merge-copies,nsa-form-launches{per-copy=true},cse,nsa-fuse-launches,cse))' | FileCheck %s --check-prefix=CHUNK
// RUN: nsa-opt %examples/prefill_chunk.mlir --nsa-to-ptx --remarks-filter=nsa 2>&1 | FileCheck %s --check-prefix=CHUNK-REMARK
// RUN: nsa-opt %examples/prefill_layer.mlir --pass-pipeline='builtin.module(nsa.step(cse,nsa-merge-copies,nsa-form-launches{per-copy=true},cse,nsa-fuse-launches,cse))' | FileCheck %s --check-prefix=LAYER
// RUN: nsa-opt %examples/prefill_layer.mlir --nsa-to-ptx --remarks-filter=nsa 2>&1 | FileCheck %s --check-prefix=LAYER-REMARK
// RUN: nsa-compile %examples/prefill_chunk.mlir -o %t --no-fuse --stats | FileCheck %s --check-prefix=CHUNK-UNFUSED
// RUN: nsa-compile %examples/prefill_layer.mlir -o %t --no-fuse --stats | FileCheck %s --check-prefix=LAYER-UNFUSED

// CHUNK-REMARK: fused 12 launches into 1 with 7 segments
// LAYER-REMARK: fused 4 launches into 1 with 4 segments
// CHUNK-UNFUSED: prefill_chunk: 12 kernel(s)
// LAYER-UNFUSED: prefill_layer: 4 kernel(s)

// Ids are rows of requests, and look for theirs.
// CHUNK:      nsa.launch @prefill_chunk {
// CHUNK-NEXT:   nsa.segment expand(%bs) {
// CHUNK-NEXT:     %[[FIRST:.*]] = nsa.window_starts %seq_lens, %extend_seq_lens
// CHUNK-NEXT:     %[[LENS:.*]] = nsa.window_lens %seq_lens, %extend_seq_lens
// CHUNK-NEXT:     %[[WINDOWS:.*]] = nsa.expansion by %[[LENS]] within %window_bound
// CHUNK-NEXT:     %[[TOKENS:.*]] = nsa.token_ranges %req_to_token[%req_pool_indices] from %[[FIRST]] over %[[WINDOWS]]
// CHUNK-NEXT:     %[[IDS:.*]] = nsa.lookup %full_to_swa[%[[TOKENS]]]
// CHUNK-NEXT:     nsa.copy %[[IDS]] to %swa_ids
// CHUNK-NEXT:   }
// What there is for each request shares the block of the sum.
// CHUNK-NEXT:   nsa.segment scan(%bs) {
// CHUNK:          nsa.copy %{{.*}} to %swa_first
// CHUNK:          nsa.copy %{{.*}} to %swa_lens
// CHUNK:          %[[OFFSETS:.*]] = nsa.cu_seqlens
// CHUNK-NEXT:     nsa.copy %[[OFFSETS]] to %swa_offsets
// CHUNK:          nsa.copy %{{.*}} to %c4_compressed_base
// CHUNK-NEXT:     %[[BASES:.*]] = nsa.window_bases %[[OFFSETS]] from
// CHUNK-NEXT:     nsa.copy %[[BASES]] to %c4_swa_base
// CHUNK-NEXT:   }
// Indices have a sum of their own, which a row adds up: no scan.
// CHUNK-NEXT:   nsa.segment tile(%queries, %c128) {
// CHUNK:          nsa.cu_seqlens
// CHUNK-NEXT:     nsa.window_bases
// CHUNK-NEXT:     nsa.combine_indices topk 0
// CHUNK-NEXT:     nsa.copy %{{.*}} to %c0_indices
// CHUNK-NEXT:   }
// CHUNK-NEXT:   nsa.segment tile(%queries) {
// CHUNK-NEXT:     nsa.combine_lens topk 0
// CHUNK-NEXT:     nsa.copy %{{.*}} to %c0_lens
// CHUNK-NEXT:     nsa.combine_lens topk %c128_columns
// CHUNK-NEXT:     nsa.copy %{{.*}} to %c128_lens
// CHUNK-NEXT:   }
// CHUNK-NEXT:   nsa.segment tile(%bs, %c4_columns) {
// CHUNK-NEXT:     nsa.query_rows first
// CHUNK-NEXT:     nsa.compressed_ids %c4_page_table
// CHUNK-NEXT:     nsa.copy %{{.*}} to %c4_ids
// CHUNK-NEXT:   }
// CHUNK-NEXT:   nsa.segment tile(%bs, %c128_columns) {
// CHUNK-NEXT:     nsa.query_rows last
// CHUNK-NEXT:     nsa.compressed_ids %c128_page_indices
// CHUNK-NEXT:     nsa.copy %{{.*}} to %c128_ids
// CHUNK-NEXT:   }
// CHUNK-NEXT:   nsa.segment tile(%queries, %{{.*}}) {
// CHUNK:          nsa.combine_indices topk %c128_columns
// CHUNK-NEXT:     nsa.copy %{{.*}} to %c128_indices
// CHUNK-NEXT:   }
// CHUNK-NEXT: }
// CHUNK-NOT:  nsa.launch

// LAYER:      nsa.launch @prefill_layer {
// LAYER-NEXT:   nsa.segment tile(%compressed_tokens, %c512) {
// LAYER-NEXT:     nsa.dequant_paged %compressed_cache[%compressed_ids]
// LAYER-NEXT:     nsa.copy %{{.*}} to %compressed_kv
// LAYER-NEXT:   }
// LAYER-NEXT:   nsa.segment tile(%window_tokens, %c512) {
// LAYER-NEXT:     nsa.dequant_paged %swa_cache[%swa_ids]
// LAYER-NEXT:     nsa.copy %{{.*}} to %swa_kv
// LAYER-NEXT:   }
// LAYER-NEXT:   nsa.segment tile(%queries, %{{.*}}) {
// LAYER-NEXT:     nsa.combine_indices topk %topk of %topk_indices
// LAYER-NEXT:     nsa.copy %{{.*}} to %indices
// LAYER-NEXT:   }
// LAYER-NEXT:   nsa.segment tile(%queries) {
// LAYER-NEXT:     nsa.combine_lens topk %topk
// LAYER-NEXT:     nsa.copy %{{.*}} to %lens
// LAYER-NEXT:   }
// LAYER-NEXT: }
// LAYER-NOT:  nsa.launch
