# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The rest of vllm_reference.py: prefills, the input batch, drafts and schedules."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from dequant_reference import reference_dequant
from flashmla_cases import reference as reference_flashmla
from schedule_cases import reference as reference_schedule
from vllm_reference import Batch, clamp, dcp, get, put, slot, upper_bound

from nsa._flashmla import options_of
from nsa.layouts import parse

# Prefill chunks.


def prefill_chunk(
    query_start_loc, seq_lens, ratio=1, cu_seq_lens=None, local_cu_seq_lens=None, out_ks=None,
    out_ke=None, out_token_to_seq=None, out_cu_seq_lens=None, out_local_cu_seq_lens=None,
    context_parallel=None, first_row=0, num_rows=0,
):  # fmt: skip
    base = int(query_start_loc[0])
    batch = Batch([int(x) - base for x in query_start_loc], seq_lens)
    keys = [length // ratio for length in batch.S]
    cu, own = [0], [0]
    for count in keys:
        cu.append(cu[-1] + count)
        own.append(own[-1] + dcp(count, context_parallel))
    if cu_seq_lens is not None:
        cu = cu_seq_lens
        own = own if context_parallel else cu
    if local_cu_seq_lens is not None:
        own = local_cu_seq_lens
    for b in range(batch.R + 1):
        put(out_cu_seq_lens, b, cu[b])
        put(out_local_cu_seq_lens, b, own[b])
    for m in range(min(int(cu[batch.R]), len(out_token_to_seq))):
        put(out_token_to_seq, m, clamp(upper_bound(cu, m) - 1, 0, batch.R - 1))
    for r in range(num_rows):
        t = first_row + r
        b = batch.of(t)
        put(out_ks, r, own[b])
        put(out_ke, r, own[b] + dcp((batch.pos(t) + 1) // ratio, context_parallel))


def nvfp4_row(cache, there, block_size):
    """512 e2m1 times the e4m3 that 16 of them share, in double precision, as bits of bf16."""
    if there < 0 or there // block_size >= len(cache):
        return np.zeros(512, np.uint16)
    record = cache[there // block_size, there % block_size * 288 :][:288].astype(int)
    pairs, scales = record[:256], record[256:]
    codes = np.stack([pairs % 16, pairs // 16], axis=1).reshape(512)
    numbers = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])[codes % 8]
    numbers = np.where(codes >= 8, 0 - numbers, numbers)
    fraction, exponent = scales % 8, scales // 8 % 16
    factors = np.where(
        exponent == 0, fraction * 2.0**-9, (1 + fraction / 8) * 2.0 ** (exponent - 7)
    )
    factors = np.where(scales % 128 == 127, np.nan, factors)
    factors = np.where(scales >= 128, -factors, factors)
    products = (numbers.reshape(32, 16) * factors[:, None]).astype(np.float32).reshape(512)
    bits = products.view(np.uint32).astype(np.int64)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(products), 0x7FC0, rounded).astype(np.uint16)


def dequantize_and_gather(
    cache, seq_lens, block_table, out, layout, block_size, workspace_stride,
    gather_lens=None, offset=0,
):  # fmt: skip
    is_nvfp4 = layout == "v41_nvfp4"
    parsed = SimpleNamespace(row=512) if is_nvfp4 else parse(layout)
    for b, length in enumerate(seq_lens.tolist()):
        number = length if gather_lens is None else int(gather_lens[b])
        for i in range(max(min(number, workspace_stride - offset), 0)):
            there = slot(block_table, b, length - number + i, block_size)
            if is_nvfp4:
                row = nvfp4_row(cache, there, block_size)
            else:
                row = reference_dequant(cache, np.array([there]), parsed, block_size)[0]
            out[b * workspace_stride + offset + i, : parsed.row] = row


# The input batch.


def expand_idx_mapping(idx_mapping, cu_num_logits, out_idx, out_local_pos=None):
    out_idx[:] = -1
    out_local_pos[:] = -1
    for b, state in enumerate(idx_mapping):
        for j in range(cu_num_logits[b + 1] - cu_num_logits[b]):
            put(out_idx, int(cu_num_logits[b]) + j, int(state))
            put(out_local_pos, int(cu_num_logits[b]) + j, j)


def pos_seq_lens(
    idx_mapping, query_start_loc, num_computed_tokens, out_positions, out_seq_lens
):
    batch = Batch(query_start_loc)
    out_seq_lens[:] = 0
    for r, state in enumerate(idx_mapping):
        computed = get(num_computed_tokens, int(state), outside=0)
        put(out_seq_lens, r, computed + batch.Q(r))
        for i in range(batch.Q(r)):
            put(out_positions, batch.q[r] + i, computed + i)


def prefill_inputs(
    idx_mapping, query_start_loc, all_token_ids, prefill_len, num_computed_tokens,
    out_input_ids, out_next_prefill_tokens,
):  # fmt: skip
    batch = Batch(query_start_loc)
    for r, state in enumerate(idx_mapping.tolist()):
        computed = get(num_computed_tokens, state, outside=0)
        prompt = get(prefill_len, state, outside=0)
        if computed >= prompt or state < 0:
            continue
        for i in range(batch.Q(r)):
            token = get(all_token_ids, state, computed + i, outside=0)
            put(out_input_ids, batch.q[r] + i, token)
        for n in range(out_next_prefill_tokens.shape[0]):
            p = computed + batch.Q(r) + n
            token = get(all_token_ids, state, p, outside=0) if p < prompt else 0
            put(out_next_prefill_tokens, (n, state), token)


def sampled_and_draft_inputs(
    idx_mapping, query_start_loc, seq_lens, cu_num_logits, prefill_len, last_sampled_tokens,
    draft_tokens, out_input_ids, out_logits_indices, num_sampled=1,
):  # fmt: skip
    batch = Batch(query_start_loc, seq_lens)
    out_logits_indices[:] = -1
    for r, state in enumerate(idx_mapping.tolist()):
        start, n = int(cu_num_logits[r]), int(cu_num_logits[r + 1] - cu_num_logits[r])
        end = batch.q[r + 1]
        for j in range(n):
            put(out_logits_indices, start + j, end - n + j)
        prompt = get(prefill_len, state, outside=0)
        if batch.S[r] <= prompt or state < 0:
            continue
        if num_sampled == 1 and batch.S[r] - n >= prompt and n > 0:
            put(out_input_ids, end - n, get(last_sampled_tokens, state, outside=0))
        for j in range(n - num_sampled):
            token = get(draft_tokens, state, j, outside=0)
            put(out_input_ids, end - (n - num_sampled) + j, token)


def input_ids(
    idx_mapping, query_start_loc, seq_lens, cu_num_logits, all_token_ids, prefill_len,
    num_computed_tokens, last_sampled_tokens, draft_tokens, out, num_sampled=1,
):  # fmt: skip
    """One after the other, as vLLM has them."""
    prefill_inputs(
        idx_mapping, query_start_loc, all_token_ids, prefill_len, num_computed_tokens, out,
        np.zeros((0, 0)),
    )  # fmt: skip
    sampled_and_draft_inputs(
        idx_mapping, query_start_loc, seq_lens, cu_num_logits, prefill_len,
        last_sampled_tokens, draft_tokens, out, np.zeros(0), num_sampled,
    )  # fmt: skip


def sampled_and_rejected(
    num_sampled, seq_lens, cu_num_logits, idx_mapping, prefill_len, out_num_sampled,
    out_num_rejected,
):  # fmt: skip
    for r, state in enumerate(idx_mapping.tolist()):
        n = int(cu_num_logits[r + 1] - cu_num_logits[r])
        sampled = int(num_sampled[r])
        is_chunk = seq_lens[r] < get(prefill_len, state, outside=0)
        put(out_num_sampled, r, 0 if is_chunk else sampled)
        put(out_num_rejected, r, 0 if is_chunk else n - sampled)


def computed_tokens(idx_mapping, query_start_loc, num_computed_tokens, out, num_rejected=None):
    batch = Batch(query_start_loc)
    for r, state in enumerate(idx_mapping.tolist()):
        rejected = 0 if num_rejected is None else int(num_rejected[r])
        computed = get(num_computed_tokens, state, outside=0)
        put(out, state, computed + batch.Q(r) - rejected)


# Drafts.


def draft_decode_inputs(
    seq_lens, num_rejected, max_model_len, draft_tokens, positions, sample_positions,
    out_input_ids, out_positions, out_sample_positions, out_query_start_loc, out_seq_lens,
    advance=True,
):  # fmt: skip
    out_seq_lens[:] = 0
    for r in range(len(out_query_start_loc)):
        put(out_query_start_loc, r, min(r, len(seq_lens)))
    for r in range(len(seq_lens)):
        put(out_input_ids, r, int(draft_tokens[r, 0]))
        put(out_sample_positions, r, int(sample_positions[r]) + 1)
        length, p = int(seq_lens[r]) - int(num_rejected[r]), int(positions[r])
        put(out_seq_lens, r, min(length + 1, max_model_len) if advance else length)
        put(out_positions, r, min(p + 1, max_model_len - 1) if advance else p)


def draft_step_inputs(
    draft_tokens, current_step, max_model_len, num_steps, positions, sample_positions,
    seq_lens, out_draft_tokens, out_input_ids, out_positions, out_sample_positions,
    out_seq_lens, advance=True,
):  # fmt: skip
    step = int(current_step[0])
    for r, token in enumerate(draft_tokens.tolist()):
        put(out_draft_tokens, (r, step), token)
        if step >= num_steps - 1:
            continue
        put(out_input_ids, r, token)
        put(out_sample_positions, r, int(sample_positions[r]) + 1)
        length, p = int(seq_lens[r]), int(positions[r])
        put(out_seq_lens, r, min(length + 1, max_model_len) if advance else length)
        put(out_positions, r, min(p + 1, max_model_len - 1) if advance else p)


def draft_prefill_inputs(
    idx_mapping, query_start_loc, seq_lens, num_rejected, input_ids, positions, num_sampled,
    last_sampled, next_prefill_tokens, out_input_ids, out_positions, out_query_start_loc,
    out_seq_lens, out_last_token_indices, out_current_step,
):  # fmt: skip
    batch = Batch(query_start_loc, seq_lens)
    out_query_start_loc[:] = batch.total
    out_seq_lens[:] = 0
    out_last_token_indices[batch.R :] = 0
    out_current_step[0] = 0
    for r, state in enumerate(idx_mapping.tolist()):
        kept = max(batch.Q(r) - int(num_rejected[r]), 0)
        put(out_query_start_loc, r, batch.q[r])
        put(out_seq_lens, r, batch.S[r])
        for i in range(min(kept, batch.Q(r))):
            t = batch.q[r] + i
            put(out_positions, t, get(positions, t, outside=0))
            follows = last_sampled if num_sampled[r] > 0 else next_prefill_tokens
            token = get(input_ids, t + 1, outside=0)
            put(out_input_ids, t, get(follows, state, outside=0) if i == kept - 1 else token)
        if kept > 0:
            put(out_last_token_indices, r, batch.q[r] + kept - 1)


def eagle_sampling_indices(
    cu_num_draft_tokens, valid_sampled_tokens_count, query_start_loc, out_indices,
    out_num_rejected,
):  # fmt: skip
    before = 0
    for r, total in enumerate(cu_num_draft_tokens.tolist()):
        drafts, before = total - before, total
        rejected = drafts + 1 - int(valid_sampled_tokens_count[r]) if drafts > 0 else 0
        put(out_num_rejected, r, rejected)
        put(out_indices, r, int(query_start_loc[r + 1]) - 1 - rejected)


def eagle_next_tokens(
    sampled_token_ids, discard_mask, backup_token_ids, out_token_ids, out_counts, vocab_size
):
    for r, row in enumerate(sampled_token_ids.tolist()):
        valid = [x for x in row if x != -1 and x < vocab_size and not discard_mask[r]]
        put(out_token_ids, r, valid[-1] if valid else int(backup_token_ids[r]))
        put(out_counts, r, len(valid))


def eagle_step(
    positions, seq_lens, block_table, out_positions, out_slot_mapping, out_seq_lens,
    block_size, max_model_len,
):  # fmt: skip
    out_slot_mapping[:] = -1
    for r in range(len(positions)):
        p = int(positions[r]) + 1
        over = p >= max_model_len
        length = min(int(seq_lens[r]) + 1, max_model_len)
        put(out_positions, r, 0 if over else p)
        put(out_slot_mapping, r, -1 if over else slot(block_table, r, p, block_size))
        put(out_seq_lens, r, 1 if over else length)


# Schedules.


def paged_mqa_schedule(
    context_lens, out, convention, num_sms, next_n=1, indices=None, num_reqs=None
):
    rows = len(context_lens) if context_lens.ndim == 2 else len(context_lens) // next_n
    rows = rows if num_reqs is None else num_reqs
    lens = context_lens.ravel()[: rows * next_n].reshape(rows, next_n)
    runs = None if indices is None else indices[:rows]
    out[: num_sms + 1] = reference_schedule(lens, convention, num_sms, indices=runs)


def flashmla_schedule(
    seq_lens, out_metadata, out_num_splits, num_reqs=None, sparse=False, extra_lens=None
):
    options = options_of(sparse=sparse, extra=None if extra_lens is None else "lengths")
    rows = len(out_num_splits) - 1 if num_reqs is None else num_reqs
    extra = None if extra_lens is None else extra_lens[:rows]
    parts, splits = reference_flashmla(options, seq_lens[:rows], len(out_metadata), extra)
    out_metadata[:, : parts.shape[1]] = parts
    out_num_splits[: rows + 1] = splits
