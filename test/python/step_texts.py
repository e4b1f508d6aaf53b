# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ruff: noqa: E501
"""Texts of nsa.steps as they are: they are the keys of shipped and saved bundles, so one
that changes is not found any more."""

from nsa import steps

TEXTS = [
    (
        lambda: steps.replay("target_verify", [list(steps.FIELDS), ["nsa_cu_seqlens_k"]], "int32", "int64", 2048, 64, 4, padded=True),
        """\
nsa.step @target_verify_replay(
    in %bs : index,
    in %row_bound : index,
    in %max_len : index,
    in %seq_lens[%bs] : tensor<?xi32>,
    in %req_pool_indices[%bs] : tensor<?xi64>,
    in %req_to_token : tensor<?x?xi32>,
    out %b0_cache_seqlens : memref<?xi32, strided<[?]>>,
    out %b0_cu_seqlens_k : memref<?xi32, strided<[?]>>,
    out %b0_seqlens_expanded : memref<?xi32, strided<[?]>>,
    out %b0_nsa_cache_seqlens : memref<?xi32, strided<[?]>>,
    out %b0_nsa_cu_seqlens_k : memref<?xi32, strided<[?]>>,
    out %b0_page_table_1 : memref<?x?xi32, strided<[?, 1]>>,
    out %b0_real_page_table : memref<?x?xi32, strided<[?, 1]>>,
    out %b0_paged_mqa_ctx_lens : memref<?x?xi32, strided<[?, 1]>>,
    out %b1_nsa_cu_seqlens_k : memref<?xi32, strided<[?]>>) {
  %len = nsa.seqlens %seq_lens plus 4 : tensor<?xi32> -> tensor<?xi32>
  %cu = nsa.cu_seqlens %len : tensor<?xi32> -> tensor<?xi32>
  %base = nsa.seqlens %seq_lens plus 0 : tensor<?xi32> -> tensor<?xi32>
  %expansion = nsa.expansion by 4 padded to %row_bound
  %rows = nsa.expand_seqlens following %base over %expansion : tensor<?xi32> -> tensor<?xi32>
  %clip = nsa.clip_seqlens %rows to 2048 : tensor<?xi32>
  %ccu = nsa.cu_seqlens %clip : tensor<?xi32> -> tensor<?xi32>
  %tab = nsa.page_table %req_to_token[%req_pool_indices] columns %max_len : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x?xi32>
  %row_tab = nsa.expand_rows %tab over %expansion : tensor<?x?xi32> -> tensor<?x?xi32>
  %real = nsa.real_page_table %row_tab page_size 64 : tensor<?x?xi32> -> tensor<?x?xi32>
  %ctx = nsa.context_lens %len columns 4 : tensor<?xi32> -> tensor<?x4xi32>
  nsa.copy %len to %b0_cache_seqlens : tensor<?xi32> to memref<?xi32, strided<[?]>>
  nsa.copy %cu to %b0_cu_seqlens_k : tensor<?xi32> to memref<?xi32, strided<[?]>>
  nsa.copy %rows to %b0_seqlens_expanded : tensor<?xi32> to memref<?xi32, strided<[?]>>
  nsa.copy %clip to %b0_nsa_cache_seqlens : tensor<?xi32> to memref<?xi32, strided<[?]>>
  nsa.copy %ccu to %b0_nsa_cu_seqlens_k : tensor<?xi32> to memref<?xi32, strided<[?]>>
  nsa.copy %row_tab to %b0_page_table_1 : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
  nsa.copy %real to %b0_real_page_table : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
  nsa.copy %ctx to %b0_paged_mqa_ctx_lens : tensor<?x4xi32> to memref<?x?xi32, strided<[?, 1]>>
  nsa.copy %ccu to %b1_nsa_cu_seqlens_k : tensor<?xi32> to memref<?xi32, strided<[?]>>
}
""",
    ),
    (
        lambda: steps.replay("draft_extend", [["cu_seqlens_k", "nsa_cache_seqlens", "real_page_table"]], "int64", "int32", 2048, 64, extend="int32", live_only=True),
        """\
nsa.step @draft_extend_replay(
    in %bs : index,
    in %row_bound : index,
    in %max_len : index,
    in %seq_lens[%bs] : tensor<?xi64>,
    in %extend_seq_lens[%bs] : tensor<?xi32>,
    in %req_pool_indices[%bs] : tensor<?xi32>,
    in %req_to_token : tensor<?x?xi32>,
    out %b0_cu_seqlens_k : memref<?xi32, strided<[?]>>,
    out %b0_nsa_cache_seqlens : memref<?xi32, strided<[?]>>,
    out %b0_real_page_table : memref<?x?xi32, strided<[?, 1]>>) {
  %len = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> tensor<?xi32>
  %cu = nsa.cu_seqlens %len : tensor<?xi32> -> tensor<?xi32>
  %expansion = nsa.expansion by %extend_seq_lens within %row_bound : tensor<?xi32>
  %rows = nsa.expand_seqlens causal %len over %expansion : tensor<?xi32> -> tensor<?xi32>
  %clip = nsa.clip_seqlens %rows to 2048 : tensor<?xi32>
  %tab = nsa.page_table %req_to_token[%req_pool_indices] columns %max_len live %len : tensor<?xi32> : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
  %row_tab = nsa.expand_rows %tab over %expansion : tensor<?x?xi32> -> tensor<?x?xi32>
  %real = nsa.real_page_table %row_tab page_size 64 : tensor<?x?xi32> -> tensor<?x?xi32>
  nsa.copy %cu to %b0_cu_seqlens_k : tensor<?xi32> to memref<?xi32, strided<[?]>>
  nsa.copy %clip to %b0_nsa_cache_seqlens : tensor<?xi32> to memref<?xi32, strided<[?]>>
  nsa.copy %real to %b0_real_page_table : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
}
""",
    ),
    (
        lambda: steps.replay("decode", [["nsa_cache_seqlens", "page_table_1"]], topk=64, padded=True),
        """\
nsa.step @decode_replay(
    in %bs : index,
    in %row_bound : index,
    in %max_len : index,
    in %seq_lens[%bs] : tensor<?xi64>,
    in %req_pool_indices[%bs] : tensor<?xi64>,
    in %req_to_token : tensor<?x?xi32>,
    out %b0_nsa_cache_seqlens : memref<?xi32, strided<[?]>>,
    out %b0_page_table_1 : memref<?x?xi32, strided<[?, 1]>>) {
  %len = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> tensor<?xi32>
  %expansion = nsa.expansion by 1 padded to %row_bound
  %rows = nsa.expand_seqlens broadcast %len over %expansion : tensor<?xi32> -> tensor<?xi32>
  %clip = nsa.clip_seqlens %rows to 64 : tensor<?xi32>
  %tab = nsa.page_table %req_to_token[%req_pool_indices] columns %max_len : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x?xi32>
  %row_tab = nsa.expand_rows %tab over %expansion : tensor<?x?xi32> -> tensor<?x?xi32>
  nsa.copy %clip to %b0_nsa_cache_seqlens : tensor<?xi32> to memref<?xi32, strided<[?]>>
  nsa.copy %row_tab to %b0_page_table_1 : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
}
""",
    ),
    (
        lambda: steps.copy_metadata("decode", ["cache_seqlens", "page_table_1", "real_page_table"], [["cache_seqlens"], ["page_table_1", "real_page_table"]]),
        """\
nsa.step @copy_decode(
    in %bs : index,
    in %max_len : index,
    in %src[%bs, %max_len] : !nsa.metadata<decode, only [cache_seqlens, page_table_1, real_page_table]>,
    out %b0 : !nsa.metadata_ref<decode, only [cache_seqlens]>,
    out %b1 : !nsa.metadata_ref<decode, only [page_table_1, real_page_table]>) {
  nsa.copy_metadata %src to %b0, %b1
      : !nsa.metadata<decode, only [cache_seqlens, page_table_1, real_page_table]>
      to !nsa.metadata_ref<decode, only [cache_seqlens]>, !nsa.metadata_ref<decode, only [page_table_1, real_page_table]>
}
""",
    ),
    (
        lambda: steps.copy_metadata("target_verify", ["cache_seqlens", "cu_seqlens_k", "seqlens_expanded", "nsa_cache_seqlens", "nsa_cu_seqlens_k", "page_table_1"], [["seqlens_expanded"]], "verify"),
        """\
nsa.step @verify(
    in %bs : index,
    in %max_seqlen_k : index,
    in %seqlens_expanded_size : index,
    in %src[%bs, %max_seqlen_k, %seqlens_expanded_size] : !nsa.metadata<target_verify>,
    out %b0 : !nsa.metadata_ref<target_verify, only [seqlens_expanded]>) {
  nsa.copy_metadata %src to %b0
      : !nsa.metadata<target_verify>
      to !nsa.metadata_ref<target_verify, only [seqlens_expanded]>
}
""",
    ),
    (
        lambda: steps.expand_seqlens("int64", "int32", 2048, causal=False, total=True),
        """\
nsa.step @expand_seqlens(
    in %bs : index,
    in %row_bound : index,
    in %extend_seq_lens[%bs] : tensor<?xi64>,
    in %seq_lens[%bs] : tensor<?xi32>,
    out %out_seqlens_expanded : memref<?xi32, strided<[?]>>,
    out %out_nsa_cache_seqlens : memref<?xi32, strided<[?]>>,
    out %out_total : memref<?xi32, strided<[?]>>) {
  %len = nsa.seqlens %seq_lens plus 0 : tensor<?xi32> -> tensor<?xi32>
  %expansion = nsa.expansion by %extend_seq_lens within %row_bound : tensor<?xi64>
  %rows = nsa.expand_seqlens broadcast %len over %expansion : tensor<?xi32> -> tensor<?xi32>
  %clip = nsa.clip_seqlens %rows to 2048 : tensor<?xi32>
  nsa.copy %rows to %out_seqlens_expanded : tensor<?xi32> to memref<?xi32, strided<[?]>>
  nsa.copy %clip to %out_nsa_cache_seqlens : tensor<?xi32> to memref<?xi32, strided<[?]>>
  %total = nsa.total_rows %expansion : tensor<1xi32>
  nsa.copy %total to %out_total : tensor<1xi32> to memref<?xi32, strided<[?]>>
}
""",
    ),
    (
        lambda: steps.dequant_paged([("v32", 1, "int32"), ("v4", 64, "int64")]),
        """\
nsa.step @dequant_paged(
    in %tokens0 : index,
    in %cache0 : tensor<?x?xi8>,
    in %ids0[%tokens0] : tensor<?xi32>,
    out %out0 : memref<?x?xbf16, strided<[?, 1]>>,
    in %tokens1 : index,
    in %cache1 : tensor<?x?xi8>,
    in %ids1[%tokens1] : tensor<?xi64>,
    out %out1 : memref<?x?xbf16, strided<[?, 1]>>) {
  %kv0 = nsa.dequant_paged %cache0[%ids0] layout #nsa.kv_layout<data_bytes = 656, fields = [e4m3[512] at 0, bf16[64] at 528], scales = f32[4] at 512 per 128 inline, page_multiple = 1> page_size 1 : tensor<?x?xi8>, tensor<?xi32> -> tensor<?x576xbf16>
  nsa.copy %kv0 to %out0 : tensor<?x576xbf16> to memref<?x?xbf16, strided<[?, 1]>>
  %kv1 = nsa.dequant_paged %cache1[%ids1] layout #nsa.kv_layout<data_bytes = 576, fields = [e4m3[448] at 0, bf16[64] at 448], scales = ue8m0[7] at 0 per 64 footer 8, page_multiple = 576> page_size 64 : tensor<?x?xi8>, tensor<?xi64> -> tensor<?x512xbf16>
  nsa.copy %kv1 to %out1 : tensor<?x512xbf16> to memref<?x?xbf16, strided<[?, 1]>>
}
""",
    ),
    (
        lambda: steps.swa_token_ids(128),
        """\
nsa.step @swa_token_ids(
    in %bs : index,
    in %id_bound : index,
    in %req_pool_indices[%bs] : tensor<?xi32>,
    in %req_to_token : tensor<?x?xi32>,
    in %full_to_swa : tensor<?xi64>,
    in %seq_lens[%bs] : tensor<?xi32>,
    in %extend_seq_lens[%bs] : tensor<?xi32>,
    out %out_ids : memref<?xi32, strided<[?]>>,
    out %out_first : memref<?xi32, strided<[?]>>,
    out %out_lens : memref<?xi32, strided<[?]>>,
    out %out_offsets : memref<?xi32, strided<[?]>>) {
  %length = nsa.seqlens %seq_lens plus 0 : tensor<?xi32> -> tensor<?xi32>
  %extend = nsa.seqlens %extend_seq_lens plus 0 : tensor<?xi32> -> tensor<?xi32>
  %gathers = nsa.window_lens %length, %extend window 128 : tensor<?xi32>, tensor<?xi32>
  %first = nsa.window_starts %length, %extend window 128 : tensor<?xi32>, tensor<?xi32>
  %windows = nsa.expansion by %gathers within %id_bound : tensor<?xi32>
  %tokens = nsa.token_ranges %req_to_token[%req_pool_indices] from %first over %windows : tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
  %ids = nsa.lookup %full_to_swa[%tokens] : tensor<?xi64>, tensor<?xi32>
  nsa.copy %ids to %out_ids : tensor<?xi32> to memref<?xi32, strided<[?]>>
  nsa.copy %first to %out_first : tensor<?xi32> to memref<?xi32, strided<[?]>>
  nsa.copy %gathers to %out_lens : tensor<?xi32> to memref<?xi32, strided<[?]>>
  %offsets = nsa.cu_seqlens %gathers : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %offsets to %out_offsets : tensor<?xi32> to memref<?xi32, strided<[?]>>
}
""",
    ),
    (
        lambda: steps.swa_token_ids(128, "int64", outputs=("out_offsets",)),
        """\
nsa.step @swa_token_ids(
    in %bs : index,
    in %seq_lens[%bs] : tensor<?xi64>,
    in %extend_seq_lens[%bs] : tensor<?xi32>,
    out %out_offsets : memref<?xi32, strided<[?]>>) {
  %length = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> tensor<?xi32>
  %extend = nsa.seqlens %extend_seq_lens plus 0 : tensor<?xi32> -> tensor<?xi32>
  %gathers = nsa.window_lens %length, %extend window 128 : tensor<?xi32>, tensor<?xi32>
  %offsets = nsa.cu_seqlens %gathers : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %offsets to %out_offsets : tensor<?xi32> to memref<?xi32, strided<[?]>>
}
""",
    ),
    (
        lambda: steps.compressed_token_ids(4),
        """\
nsa.step @compressed_token_ids(
    in %bs : index,
    in %columns : index,
    in %table : tensor<?x?xi32>,
    in %query_start_loc[%bs + 1] : tensor<?xi32>,
    out %out_ids : memref<?x?xi32, strided<[?, 1]>>) {
  %rows = nsa.query_rows first %query_start_loc : tensor<?xi32> -> tensor<?xi32>
  %ids = nsa.compressed_ids %table[%rows] columns %columns page_size 64 : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
  nsa.copy %ids to %out_ids : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
}
""",
    ),
    (
        lambda: steps.compressed_token_ids(128),
        """\
nsa.step @compressed_token_ids(
    in %bs : index,
    in %columns : index,
    in %table : tensor<?x?xi32>,
    in %query_start_loc[%bs + 1] : tensor<?xi32>,
    out %out_ids : memref<?x?xi32, strided<[?, 1]>>) {
  %rows = nsa.query_rows last %query_start_loc : tensor<?xi32> -> tensor<?xi32>
  %ids = nsa.compressed_ids %table[%rows] columns %columns page_size 1 : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
  nsa.copy %ids to %out_ids : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
}
""",
    ),
    (
        lambda: steps.combine_indices(128, 4, positioned=True),
        """\
nsa.step @combine_indices(
    in %bs : index,
    in %queries : index,
    in %topk : index,
    in %topk_indices : tensor<?x?xi32>,
    in %query_start_loc[%bs + 1] : tensor<?xi32>,
    in %query_pos[%queries] : tensor<?xi32>,
    in %seq_lens[%bs] : tensor<?xi32>,
    in %gather_lens[%bs] : tensor<?xi32>,
    in %compressed_base[%bs] : tensor<?xi32>,
    in %swa_base[%bs] : tensor<?xi32>,
    out %out_indices : memref<?x?xi32, strided<[?, 1]>>,
    out %out_lens : memref<?xi32, strided<[?]>>) {
  %length = nsa.seqlens %seq_lens plus 0 : tensor<?xi32> -> tensor<?xi32>
  %indices = nsa.combine_indices topk %topk of %topk_indices : tensor<?x?xi32> queries %queries at %query_start_loc positions %query_pos : tensor<?xi32> lengths %length gathers %gather_lens bases %compressed_base, %swa_base ratio 4 window 128 : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x?xi32>
  %lens = nsa.combine_lens topk %topk queries %queries at %query_start_loc positions %query_pos : tensor<?xi32> lengths %length ratio 4 window 128 : tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
  nsa.copy %indices to %out_indices : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
  nsa.copy %lens to %out_lens : tensor<?xi32> to memref<?xi32, strided<[?]>>
}
""",
    ),
    (
        lambda: steps.combine_indices(100, 1, "int64", windows_only=True),
        """\
nsa.step @combine_indices(
    in %bs : index,
    in %queries : index,
    in %query_start_loc[%bs + 1] : tensor<?xi32>,
    in %seq_lens[%bs] : tensor<?xi64>,
    in %gather_lens[%bs] : tensor<?xi32>,
    in %compressed_base[%bs] : tensor<?xi32>,
    in %swa_base[%bs] : tensor<?xi32>,
    out %out_indices : memref<?x?xi32, strided<[?, 1]>>,
    out %out_lens : memref<?xi32, strided<[?]>>) {
  %length = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> tensor<?xi32>
  %indices = nsa.combine_indices topk 0 queries %queries at %query_start_loc lengths %length gathers %gather_lens bases %compressed_base, %swa_base ratio 1 window 100 : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x128xi32>
  %lens = nsa.combine_lens topk 0 queries %queries at %query_start_loc lengths %length ratio 1 window 100 : tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
  nsa.copy %indices to %out_indices : tensor<?x128xi32> to memref<?x?xi32, strided<[?, 1]>>
  nsa.copy %lens to %out_lens : tensor<?xi32> to memref<?xi32, strided<[?]>>
}
""",
    ),
]
