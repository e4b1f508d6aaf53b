/*===- nsa-c/plan.h - Sizes and choices made before a step --------*- C -*-===*\
|*                                                                            *|
|* Part of the nsa project, under the Apache License v2.0 with LLVM           *|
|* Exceptions. See LICENSE for license information.                           *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
|*===----------------------------------------------------------------------===*|
|*                                                                            *|
|* What an engine decides on the host before it launches: how large a         *|
|* workspace is, how many rows a mode has, which implementation serves it,    *|
|* which batch sizes are worth capturing. Plain arithmetic in 64 bits: no     *|
|* device, no allocation. Errors as in nsa-c/runtime.h; what leaves 64 bits   *|
|* is NSA_INVALID_ARGUMENT, and no output is written then.                    *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#ifndef NSA_C_PLAN_H
#define NSA_C_PLAN_H

#include "nsa-c/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a forward pass does. */
typedef enum nsa_mode {
  NSA_MODE_DECODE = 0,
  NSA_MODE_TARGET_VERIFY = 1,
  NSA_MODE_DRAFT_EXTEND = 2,
  NSA_MODE_IDLE = 3,
  NSA_MODE_EXTEND = 4
} nsa_mode;

/* In the place of a number that is not known, or of a limit that is not set. */
#define NSA_PLAN_NONE ((int64_t)-1)

/* "decode", "target_verify", "draft_extend", "idle" or "extend"; any other name
 * is NSA_INVALID_ARGUMENT. */
NSA_RUNTIME_API nsa_status nsa_mode_from_name(const char *name, nsa_mode *mode);

typedef enum nsa_implementation {
  NSA_IMPLEMENTATION_DECODE = 0,
  NSA_IMPLEMENTATION_PREFILL = 1
} nsa_implementation;

/* Only plain extend is served by the prefill implementation. */
NSA_RUNTIME_API nsa_status
nsa_plan_implementation(nsa_mode mode, nsa_implementation *implementation);

/* The most rows that the fields of a mode have: `bs` in decode and idle,
 * bs * next_n in target_verify and draft_extend. The rows of plain
 * extend follow from no next_n, so asking for them is an error.
 * bs >= 0, next_n >= 1. */
NSA_RUNTIME_API nsa_status nsa_plan_row_bound(nsa_mode mode, int64_t bs,
                                              int64_t next_n, int64_t *rows);

/* A workspace of sparse prefill: one array of rows. Request b has the
 * compressed rows [b * c_max, (b + 1) * c_max), and the window rows that begin
 * at window_begin plus the windows of the requests before it. */
typedef struct nsa_workspace {
  /* Compressed rows of a request: max(max_seq_len div ratio, 1). */
  int64_t c_max;
  /* All rows: window_begin + total_window. */
  int64_t rows;
  /* The first window row: num_reqs * c_max. */
  int64_t window_begin;
} nsa_workspace;

/* `max_seq_len` and `total_window`, the sum of all windows, are in tokens;
 * `ratio` is the tokens of a compressed row. All >= 0, ratio >= 1. */
NSA_RUNTIME_API nsa_status nsa_plan_workspace(int64_t num_reqs,
                                              int64_t max_seq_len,
                                              int64_t ratio,
                                              int64_t total_window,
                                              nsa_workspace *workspace);

/* Whether sparse prefill can serve a batch, as 0 or 1: its extend lengths are
 * known on the host and their sum is the number of query rows. Under
 * round-robin context parallelism (cp_size > 1) instead: it is one request, the
 * `cp_rows` of this rank are the query rows, and cp_size divides the length.
 * `extend_lens` may be null and `cp_rows` NSA_PLAN_NONE: not known, so not
 * usable where they count. All values >= 0, cp_size >= 1. */
NSA_RUNTIME_API nsa_status nsa_plan_sparse_prefill_usable(
    const int64_t *extend_lens, size_t num_reqs, int64_t query_rows,
    int64_t cp_size, int64_t cp_rows, int32_t *usable);

typedef struct nsa_capture_options {
  /* Query tokens of a request: 1, or the draft tokens. */
  int64_t tokens_per_bs;
  int64_t attn_tp_size;
  int64_t attn_cp_size;
  /* Whether ranks exchange tokens through buffers of equal parts. */
  int32_t gathered_buffer;
  int32_t two_batch_overlap;
  /* The most requests that run at once, or NSA_PLAN_NONE. */
  int64_t max_requests;
} nsa_capture_options;

/* Which batch sizes to capture: those of the `num_candidates` (each >= 1, in
 * any order) whose tokens divide evenly, ascending and each once.
 *
 * bs is kept when bs * tokens_per_bs is a multiple of the alignment:
 * attn_tp_size if buffers are gathered, else 1; twice that with two-batch
 * overlap, which splits by request, so that tokens_per_bs counts as 1; times
 * attn_cp_size unless that divides it already. The limit is max_requests
 * rounded up to the alignment: when the largest candidate is beyond it, the
 * limit itself joins the list, and whatever is above it is dropped.
 *
 * `sizes` has room for num_candidates + 1 and gets `*num_sizes`. The numbers
 * among the options are >= 1. */
NSA_RUNTIME_API nsa_status nsa_plan_capture_batch_sizes(
    const int64_t *candidates, size_t num_candidates,
    const nsa_capture_options *options, int64_t *sizes, size_t *num_sizes);

#ifdef __cplusplus
}
#endif

#endif /* NSA_C_PLAN_H */
