// Values of sparse prefill that are refused, each under the number of the
// constraint that it breaks.

// RUN: nsa-opt %s --verify-diagnostics --split-input-file

// WindowLensOp C1
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>) {
  // expected-error @+1 {{attribute 'window' failed to satisfy constraint: 32-bit signless integer attribute whose value is positive}}
  %x = nsa.window_lens %a, %a window 0 : tensor<?xi32>, tensor<?xi32>
}

// -----

// WindowLensOp C2: other requests
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, in %b : tensor<?xi32>) {
  // expected-error @+1 {{expected lengths and extends with an element for each request, with the same extent or static size}}
  %x = nsa.window_lens %a, %b window 4 : tensor<?xi32>, tensor<?xi32>
}

// -----

// WindowLensOp C2: rows instead of requests
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>) {
  %two = nsa.expansion by 2
  %rows = nsa.expand_seqlens causal %a over %two : tensor<?xi32> -> tensor<?xi32>
  // expected-error @+1 {{expected lengths and extends with an element for each request}}
  %x = nsa.window_lens %rows, %rows window 4 : tensor<?xi32>, tensor<?xi32>
}

// -----

// WindowLensOp: elements
nsa.step @step(in %a : tensor<?xi64>) {
  // expected-error @+1 {{operand #0 must be 1D tensor of 32-bit signless integer values, but got 'tensor<?xi64>'}}
  %x = nsa.window_lens %a, %a window 4 : tensor<?xi64>, tensor<?xi64>
}

// -----

// WindowStartsOp C1
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>) {
  // expected-error @+1 {{attribute 'window' failed to satisfy constraint: 32-bit signless integer attribute whose value is positive}}
  %x = nsa.window_starts %a, %a window -1 : tensor<?xi32>, tensor<?xi32>
}

// -----

// WindowStartsOp C2
nsa.step @step(in %a : tensor<4xi32>, in %b : tensor<5xi32>) {
  // expected-error @+1 {{expected lengths and extends with an element for each request, with the same extent or static size}}
  %x = nsa.window_starts %a, %b window 4 : tensor<4xi32>, tensor<5xi32>
}

// -----

// TokenRangesOp C1: rows from a sum
nsa.step @step(in %n : index, in %table : tensor<?x?xi32>, in %a[%n] : tensor<?xi32>) {
  %cu = nsa.cu_seqlens %a : tensor<?xi32> -> tensor<?xi32>
  %two = nsa.expansion by 2
  // expected-error @+1 {{expected rows and starts that depend neither on a cumulative sum nor on an expansion}}
  %x = nsa.token_ranges %table[%cu] from %a over %two
      : tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
}

// -----

// TokenRangesOp C1: starts from a sum
nsa.step @step(in %n : index, in %table : tensor<?x?xi32>, in %a[%n] : tensor<?xi32>) {
  %cu = nsa.cu_seqlens %a : tensor<?xi32> -> tensor<?xi32>
  %bases = nsa.window_bases %cu from %n : tensor<?xi32> -> tensor<?xi32>
  %two = nsa.expansion by 2
  // expected-error @+1 {{expected rows and starts that depend neither on a cumulative sum nor on an expansion}}
  %x = nsa.token_ranges %table[%a] from %bases over %two
      : tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
}

// -----

// TokenRangesOp C2: starts
nsa.step @step(in %n : index, in %table : tensor<?x?xi32>, in %a[%n] : tensor<?xi32>,
               in %b : tensor<?xi32>) {
  %two = nsa.expansion by 2
  // expected-error @+1 {{expected as many rows as starts and as requests of the expansion, with the same extent or static size}}
  %x = nsa.token_ranges %table[%a] from %b over %two
      : tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
}

// -----

// TokenRangesOp C2: the expansion's array
nsa.step @step(in %n : index, in %table : tensor<?x?xi32>, in %a[%n] : tensor<?xi32>,
               in %b : tensor<?xi32>) {
  %rows = nsa.expansion by %b within %n : tensor<?xi32>
  // expected-error @+1 {{expected as many rows as starts and as requests of the expansion, with the same extent or static size}}
  %x = nsa.token_ranges %table[%a] from %a over %rows
      : tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
}

// -----

// TokenRangesOp C3
nsa.step @step(in %n : index, in %table : tensor<?x?xi32>, in %a[%n] : tensor<?xi32>) {
  %pages = nsa.page_table %table[%a] columns %n
      : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
  %two = nsa.expansion by 2
  // expected-error @+1 {{expected req_to_token to be an 'in' port}}
  %x = nsa.token_ranges %pages[%a] from %a over %two
      : tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
}

// -----

// LookupOp C1
nsa.step @step(in %a : tensor<?xi32>) {
  %len = nsa.seqlens %a plus 1 : tensor<?xi32> -> tensor<?xi32>
  // expected-error @+1 {{expected the table to be an 'in' port}}
  %x = nsa.lookup %len[%a] : tensor<?xi32>, tensor<?xi32>
}

// -----

// WindowBasesOp C1: no sum
nsa.step @step(in %n : index, in %a : tensor<?xi32>) {
  // expected-error @+1 {{expected offsets to be an 'nsa.cu_seqlens' of an array with an element for each request}}
  %x = nsa.window_bases %a from %n : tensor<?xi32> -> tensor<?xi32>
}

// -----

// WindowBasesOp C1: a sum over rows
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>) {
  %two = nsa.expansion by 2
  %rows = nsa.expand_seqlens causal %a over %two : tensor<?xi32> -> tensor<?xi32>
  %cu = nsa.cu_seqlens %rows : tensor<?xi32> -> tensor<?xi32>
  // expected-error @+1 {{expected offsets to be an 'nsa.cu_seqlens' of an array with an element for each request}}
  %x = nsa.window_bases %cu from %n : tensor<?xi32> -> tensor<?xi32>
}

// -----

// QueryRowsOp C1: an extent without the one more
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>) {
  // expected-error @+1 {{expected query_start_loc to be an 'in' port with an extent of a size plus 1 or more, or with a static size of 1 or more}}
  %x = nsa.query_rows first %a : tensor<?xi32> -> tensor<?xi32>
}

// -----

// QueryRowsOp C1: no extent
nsa.step @step(in %a : tensor<?xi32>) {
  // expected-error @+1 {{expected query_start_loc to be an 'in' port with an extent of a size plus 1 or more, or with a static size of 1 or more}}
  %x = nsa.query_rows last %a : tensor<?xi32> -> tensor<?xi32>
}

// -----

// QueryRowsOp C1: empty
nsa.step @step(in %a : tensor<0xi32>) {
  // expected-error @+1 {{expected query_start_loc to be an 'in' port with an extent of a size plus 1 or more, or with a static size of 1 or more}}
  %x = nsa.query_rows last %a : tensor<0xi32> -> tensor<?xi32>
}

// -----

// QueryRowsOp C1: no port
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>) {
  %cu = nsa.cu_seqlens %a : tensor<?xi32> -> tensor<?xi32>
  // expected-error @+1 {{expected query_start_loc to be an 'in' port}}
  %x = nsa.query_rows first %cu : tensor<?xi32> -> tensor<?xi32>
}

// -----

// QueryRowsOp: which end
nsa.step @step(in %n : index, in %a[%n + 1] : tensor<?xi32>) {
  // expected-error @+1 {{expected string or keyword containing one of the following enum values for attribute 'end' [first, last]}}
  %x = nsa.query_rows middle %a : tensor<?xi32> -> tensor<?xi32>
}

// -----

// CompressedIdsOp C1
nsa.step @step(in %n : index, in %table : tensor<?x?xi32>, in %a[%n] : tensor<?xi32>) {
  %pages = nsa.page_table %table[%a] columns %n
      : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
  // expected-error @+1 {{expected the table to be an 'in' port}}
  %x = nsa.compressed_ids %pages[%a] columns %n page_size 64
      : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
}

// -----

// CompressedIdsOp C2
nsa.step @step(in %n : index, in %table : tensor<?x?xi32>, in %a[%n] : tensor<?xi32>) {
  %cu = nsa.cu_seqlens %a : tensor<?xi32> -> tensor<?xi32>
  // expected-error @+1 {{expected rows that depend neither on a cumulative sum nor on an expansion}}
  %x = nsa.compressed_ids %table[%cu] columns %n page_size 64
      : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
}

// -----

// CompressedIdsOp: page size
nsa.step @step(in %n : index, in %table : tensor<?x?xi32>, in %a[%n] : tensor<?xi32>) {
  // expected-error @+1 {{attribute 'page_size' failed to satisfy constraint: 32-bit signless integer attribute whose value is positive}}
  %x = nsa.compressed_ids %table[%a] columns %n page_size 0
      : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
}

// -----

// CombineIndicesOp C1: ratio
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, in %q[%n + 1] : tensor<?xi32>) {
  // expected-error @+1 {{attribute 'ratio' failed to satisfy constraint: 32-bit signless integer attribute whose value is positive}}
  %x = nsa.combine_indices topk %n queries %n at %q lengths %a gathers %a
      bases %a, %a ratio 0 window 128
      : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>
      -> tensor<?x?xi32>
}

// -----

// CombineIndicesOp C1: window
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, in %q[%n + 1] : tensor<?xi32>) {
  // expected-error @+1 {{attribute 'window' failed to satisfy constraint: 32-bit signless integer attribute whose value is positive}}
  %x = nsa.combine_indices topk %n queries %n at %q lengths %a gathers %a
      bases %a, %a ratio 4 window 0
      : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>
      -> tensor<?x?xi32>
}

// -----

// CombineIndicesOp C1: top-k
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, in %q[%n + 1] : tensor<?xi32>) {
  // expected-error @+1 {{expected a top-k of 0 or more, but got -128}}
  %x = nsa.combine_indices topk -128 queries %n at %q lengths %a gathers %a
      bases %a, %a ratio 4 window 128
      : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>
      -> tensor<?x?xi32>
}

// -----

// CombineIndicesOp C1: a top-k that no int32 holds
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, in %q[%n + 1] : tensor<?xi32>) {
  // expected-error @+1 {{expected a top-k of 2147483647 or less, but got 9223372036854775807}}
  %x = nsa.combine_indices topk 9223372036854775807 queries %n at %q lengths %a
      gathers %a bases %a, %a ratio 4 window 128
      : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>
      -> tensor<?x?xi32>
}

// -----

// CombineIndicesOp: width
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, in %q[%n + 1] : tensor<?xi32>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{inferred type(s) 'tensor<?x256xi32>' are incompatible with return type(s) of operation 'tensor<?x145xi32>'}}
  %x = nsa.combine_indices topk 17 queries %n at %q lengths %a gathers %a
      bases %a, %a ratio 4 window 128
      : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>
      -> tensor<?x145xi32>
}

// -----

// CombineIndicesOp C2
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>) {
  // expected-error @+1 {{expected query_start_loc to be an 'in' port with an extent of a size plus 1 or more}}
  %x = nsa.combine_indices topk %n queries %n at %a lengths %a gathers %a
      bases %a, %a ratio 4 window 128
      : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>
      -> tensor<?x?xi32>
}

// -----

// CombineIndicesOp C3: as many gathers
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, in %q[%n + 1] : tensor<?xi32>,
               in %b : tensor<?xi32>) {
  // expected-error @+1 {{expected lengths, gathers and bases with an element for each request, one less than query_start_loc}}
  %x = nsa.combine_indices topk %n queries %n at %q lengths %a gathers %b
      bases %a, %a ratio 4 window 128
      : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>
      -> tensor<?x?xi32>
}

// -----

// CombineIndicesOp C3: window bases of a sum that is no nsa.window_bases
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, in %q[%n + 2] : tensor<?xi32>) {
  %cu = nsa.cu_seqlens %a : tensor<?xi32> -> tensor<?xi32>
  // expected-error @+1 {{expected lengths, gathers and bases with an element for each request, one less than query_start_loc}}
  %x = nsa.combine_indices topk %n queries %n at %q lengths %a gathers %a
      bases %a, %cu ratio 4 window 128
      : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>
      -> tensor<?x?xi32>
}

// -----

// CombineIndicesOp C3: compressed bases of a sum
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, in %q[%n + 1] : tensor<?xi32>) {
  %cu = nsa.cu_seqlens %a : tensor<?xi32> -> tensor<?xi32>
  %bases = nsa.window_bases %cu from %n : tensor<?xi32> -> tensor<?xi32>
  // expected-error @+1 {{expected lengths, gathers and bases with an element for each request, one less than query_start_loc}}
  %x = nsa.combine_indices topk %n queries %n at %q lengths %a gathers %a
      bases %bases, %bases ratio 4 window 128
      : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>
      -> tensor<?x?xi32>
}

// -----

// CombineIndicesOp C4
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, in %q[%n + 1] : tensor<?xi32>,
               in %table : tensor<?x?xi32>) {
  %pages = nsa.page_table %table[%a] columns %n
      : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
  // expected-error @+1 {{expected topk_indices to be an 'in' port}}
  %x = nsa.combine_indices topk %n of %pages : tensor<?x?xi32> queries %n at %q
      lengths %a gathers %a bases %a, %a ratio 4 window 128
      : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>
      -> tensor<?x?xi32>
}

// -----

// CombineIndicesOp C5: another extent
nsa.step @step(in %n : index, in %m : index, in %a[%n] : tensor<?xi32>,
               in %q[%n + 1] : tensor<?xi32>, in %pos[%n] : tensor<?xi32>) {
  // expected-error @+1 {{expected query_pos to be an 'in' port whose extent is the number of queries}}
  %x = nsa.combine_indices topk %n queries %m at %q
      positions %pos : tensor<?xi32> lengths %a gathers %a bases %a, %a
      ratio 4 window 128
      : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>
      -> tensor<?x?xi32>
}

// -----

// CombineLensOp C1: ratio
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, in %q[%n + 1] : tensor<?xi32>) {
  // expected-error @+1 {{attribute 'ratio' failed to satisfy constraint: 32-bit signless integer attribute whose value is positive}}
  %x = nsa.combine_lens topk %n queries %n at %q lengths %a ratio 0 window 128
      : tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
}

// -----

// CombineLensOp C1: top-k
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, in %q[%n + 1] : tensor<?xi32>) {
  // expected-error @+1 {{expected a top-k of 0 or more, but got -1}}
  %x = nsa.combine_lens topk -1 queries %n at %q lengths %a ratio 4 window 128
      : tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
}

// -----

// CombineLensOp C1: top-k, neither a value nor a constant
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, in %q[%n + 1] : tensor<?xi32>) {
  // expected-error @+1 {{expected its top-k either as a value or as a constant}}
  %x = "nsa.combine_lens"(%n, %q, %a) <{operandSegmentSizes = array<i32: 0, 1, 1, 0, 1>, ratio = 4 : i32, window = 128 : i32}>
      : (index, tensor<?xi32>, tensor<?xi32>) -> tensor<?xi32>
}

// -----

// CombineLensOp C2
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>) {
  // expected-error @+1 {{expected query_start_loc to be an 'in' port with an extent of a size plus 1 or more}}
  %x = nsa.combine_lens topk %n queries %n at %a lengths %a ratio 4 window 128
      : tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
}

// -----

// CombineLensOp C3: an extent that is another
nsa.step @step(in %n : index, in %m : index, in %a[%m] : tensor<?xi32>,
               in %q[%n + 1] : tensor<?xi32>) {
  // expected-error @+1 {{expected lengths with an element for each request, one less than query_start_loc}}
  %x = nsa.combine_lens topk %n queries %n at %q lengths %a ratio 4 window 128
      : tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
}

// -----

// CombineLensOp C3: an element for each query
nsa.step @step(in %n : index, in %m : index, in %a[%n] : tensor<?xi32>,
               in %q[%n + 1] : tensor<?xi32>) {
  %lens = nsa.combine_lens topk %n queries %m at %q lengths %a ratio 4 window 128
      : tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
  // expected-error @+1 {{expected lengths with an element for each request, one less than query_start_loc}}
  %x = nsa.combine_lens topk %n queries %m at %q lengths %lens ratio 4 window 128
      : tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
}

// -----

// CombineLensOp C4: no port
nsa.step @step(in %n : index, in %m : index, in %a[%n] : tensor<?xi32>,
               in %q[%n + 1] : tensor<?xi32>, in %pos[%m] : tensor<?xi32>) {
  %more = nsa.seqlens %pos plus 1 : tensor<?xi32> -> tensor<?xi32>
  // expected-error @+1 {{expected query_pos to be an 'in' port whose extent is the number of queries}}
  %x = nsa.combine_lens topk %n queries %m at %q
      positions %more : tensor<?xi32> lengths %a ratio 4 window 128
      : tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
}
