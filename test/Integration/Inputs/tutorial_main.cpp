// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// The tutorial's class, called with a driver that only prints.

#include "engine.cpp"

#include "driver.h"

/// 64 requests, 1024 columns; every array at a made-up address of its own.
static verify_args makeArguments() {
  uintptr_t last = 0;
  auto next = [&] { return reinterpret_cast<void *>(last += 1 << 24); };
  auto vector = [&](int64_t size) {
    return engine::vector(next(), size);
  };
  auto table = [&](int64_t rows, int64_t columns) {
    return engine::table(next(), rows, columns, columns);
  };
  verify_args args{};
  args.seq_lens = vector(64);
  args.req_pool_indices = vector(64);
  args.req_to_token = table(100, 4096);
  auto fill = [&](nsa_view &lens, nsa_view &sums, nsa_view &rows,
                  nsa_view &row_sums, nsa_view &tokens, nsa_view &pages) {
    lens = vector(64);
    sums = vector(65);
    rows = vector(256);
    row_sums = vector(257);
    tokens = table(256, 1024);
    pages = table(256, 16);
  };
  fill(args.b0_cache_seqlens, args.b0_cu_seqlens_k, args.b0_nsa_cache_seqlens,
       args.b0_nsa_cu_seqlens_k, args.b0_page_table_1, args.b0_real_page_table);
  fill(args.b1_cache_seqlens, args.b1_cu_seqlens_k, args.b1_nsa_cache_seqlens,
       args.b1_nsa_cu_seqlens_k, args.b1_page_table_1, args.b1_real_page_table);
  return args;
}

int main() {
  shown_parameters = 2;
  engine::Verify verify(makeArguments());
  verify(/*bs=*/3, /*max_len=*/1000, /*stream=*/nullptr);
  try {
    verify(/*bs=*/3, /*max_len=*/1025, /*stream=*/nullptr);
  } catch (const std::invalid_argument &error) {
    printf("refused: %s\n", error.what());
  }
}
