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

// -----

// Sets are expanded before.

nsa.step @sets(in %bs : index, in %max_len : index,
               in %src[%bs, %max_len] : !nsa.metadata<decode>,
               out %b0 : !nsa.metadata_ref<decode>) {
  // expected-error @+1 {{expected sets to be expanded; run 'nsa-expand-metadata-sets' before}}
  nsa.copy_metadata %src to %b0 : !nsa.metadata<decode> to !nsa.metadata_ref<decode>
}

// -----

// Launches are formed of all copies or of none.

// expected-error @+1 {{expected copies or launches, but got both}}
nsa.step @both(in %n : index, in %a[%n] : tensor<?xi32>, out %x : memref<?xi32>,
               out %y : memref<?xi32>) {
  nsa.launch @launch {
    nsa.segment tile(%n) {
      nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
    }
  }
  nsa.copy %a to %y : tensor<?xi32> to memref<?xi32>
}
