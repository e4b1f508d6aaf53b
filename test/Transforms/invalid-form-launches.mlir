// Sums of rows that cannot be computed without visiting them are refused.

// RUN: nsa-opt %s --pass-pipeline='builtin.module(nsa.step(nsa-form-launches))' \
// RUN:   --verify-diagnostics

nsa.step @step(in %bs : index, in %a[%bs] : tensor<?xi32>, out %x : memref<?xi32>) {
  %four = nsa.expansion by 4
  %lens = nsa.expand_seqlens causal %a over %four : tensor<?xi32> -> tensor<?xi32>
  %more = nsa.seqlens %lens plus 1 : tensor<?xi32> -> tensor<?xi32>
  // expected-error @+1 {{expected the rows that it adds up to be 'nsa.expand_seqlens' or a clip of it}}
  %cu = nsa.cu_seqlens %more : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %cu to %x : tensor<?xi32> to memref<?xi32>
}
