// Sums of rows that cannot be computed without visiting them are refused.

// RUN: nsa-opt %s --pass-pipeline='builtin.module(nsa.step(nsa-form-launches))' \
// RUN:   --verify-diagnostics --split-input-file

nsa.step @step(in %bs : index, in %a[%bs] : tensor<?xi32>, out %x : memref<?xi32>) {
  %four = nsa.expansion by 4
  %lens = nsa.expand_seqlens causal %a over %four : tensor<?xi32> -> tensor<?xi32>
  %more = nsa.seqlens %lens plus 1 : tensor<?xi32> -> tensor<?xi32>
  // expected-error @+1 {{expected the rows that it adds up to be 'nsa.expand_seqlens' or a clip of it}}
  %cu = nsa.cu_seqlens %more : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %cu to %x : tensor<?xi32> to memref<?xi32>
}

// -----

// Pages of repeated rows are rows of repeated pages after canonicalisation.

nsa.step @step(in %bs : index, in %max_len : index, in %pool[%bs] : tensor<?xi64>,
               in %table : tensor<?x?xi32>, out %x : memref<?x?xi32>) {
  %four = nsa.expansion by 4
  %tab = nsa.page_table %table[%pool] columns %max_len
      : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x?xi32>
  %rows = nsa.expand_rows %tab over %four : tensor<?x?xi32> -> tensor<?x?xi32>
  // expected-error @+1 {{expected a source that is not 'nsa.expand_rows'; run 'canonicalize' before}}
  %real = nsa.real_page_table %rows page_size 64 : tensor<?x?xi32> -> tensor<?x?xi32>
  nsa.copy %real to %x : tensor<?x?xi32> to memref<?x?xi32>
}
