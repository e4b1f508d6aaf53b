// Values that are refused, each under the number of the constraint that it
// breaks.

// RUN: nsa-opt %s --verify-diagnostics --split-input-file

// SeqlensOp C1: shape
nsa.step @step(in %a : tensor<4xi64>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{inferred type(s) 'tensor<4xi32>' are incompatible with return type(s) of operation 'tensor<?xi32>'}}
  %len = nsa.seqlens %a plus 0 : tensor<4xi64> -> tensor<?xi32>
}

// -----

// SeqlensOp C1: elements
nsa.step @step(in %a : tensor<?xi64>) {
  // expected-error @+1 {{result #0 must be 1D tensor of 32-bit signless integer values, but got 'tensor<?xi64>'}}
  %len = nsa.seqlens %a plus 0 : tensor<?xi64> -> tensor<?xi64>
}

// -----

// SeqlensOp: rank of the operand
nsa.step @step(in %a : tensor<?x?xi64>) {
  // expected-error @+1 {{operand #0 must be 1D tensor of 32-bit signless integer or 64-bit signless integer values, but got 'tensor<?x?xi64>'}}
  %len = nsa.seqlens %a plus 0 : tensor<?x?xi64> -> tensor<?xi32>
}

// -----

// ClipSeqlensOp C1: limit
nsa.step @step(in %a : tensor<?xi32>) {
  // expected-error @+1 {{attribute 'limit' failed to satisfy constraint: 32-bit signless integer attribute whose value is non-negative}}
  %clip = nsa.clip_seqlens %a to -1 : tensor<?xi32>
}

// -----

// ClipSeqlensOp: elements of the operand
nsa.step @step(in %a : tensor<?xi64>) {
  // expected-error @+1 {{operand #0 must be 1D tensor of 32-bit signless integer values, but got 'tensor<?xi64>'}}
  %clip = nsa.clip_seqlens %a to 2048 : tensor<?xi64>
}

// -----

// CuSeqlensOp C1: one element more
nsa.step @step(in %a : tensor<4xi32>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{inferred type(s) 'tensor<5xi32>' are incompatible with return type(s) of operation 'tensor<4xi32>'}}
  %cu = nsa.cu_seqlens %a : tensor<4xi32> -> tensor<4xi32>
}

// -----

// CuSeqlensOp C2: no sums of sums
nsa.step @step(in %a : tensor<?xi32>) {
  %cu = nsa.cu_seqlens %a : tensor<?xi32> -> tensor<?xi32>
  %clip = nsa.clip_seqlens %cu to 2048 : tensor<?xi32>
  // expected-error @+1 {{expected a source that does not depend on another cumulative sum}}
  %sums = nsa.cu_seqlens %clip : tensor<?xi32> -> tensor<?xi32>
}

// -----

// PageTableOp C1: rows
nsa.step @step(in %a : tensor<?x?xi32>, in %b : tensor<4xi32>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{inferred type(s) 'tensor<4x96xi32>' are incompatible with return type(s) of operation 'tensor<?x96xi32>'}}
  %tab = nsa.page_table %a[%b] columns 96
      : tensor<?x?xi32>, tensor<4xi32> -> tensor<?x96xi32>
}

// -----

// PageTableOp C1: columns
nsa.step @step(in %a : tensor<?x?xi32>, in %b : tensor<?xi32>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{inferred type(s) 'tensor<?x96xi32>' are incompatible with return type(s) of operation 'tensor<?x95xi32>'}}
  %tab = nsa.page_table %a[%b] columns 96
      : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x95xi32>
}

// -----

// PageTableOp C1: columns, neither a value nor a constant
nsa.step @step(in %a : tensor<?x?xi32>, in %b : tensor<?xi32>) {
  // expected-error @+1 {{expected its number of columns either as a value or as a constant}}
  %tab = "nsa.page_table"(%a, %b)
      <{operandSegmentSizes = array<i32: 1, 1, 0, 0>}> : (tensor<?x?xi32>, tensor<?xi32>) -> tensor<?x?xi32>
}

// -----

// PageTableOp C2: columns
nsa.step @step(in %a : tensor<?x?xi32>, in %b : tensor<?xi32>) {
  // expected-error @+1 {{expected 0 or more columns, but got -1}}
  %tab = nsa.page_table %a[%b] columns -1
      : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
}

// -----

// PageTableOp C3: rows from a sum
nsa.step @step(in %n : index, in %a : tensor<?x?xi32>, in %b : tensor<?xi32>) {
  %cu = nsa.cu_seqlens %b : tensor<?xi32> -> tensor<?xi32>
  // expected-error @+1 {{expected rows and live lengths that depend neither on a cumulative sum nor on an expansion}}
  %tab = nsa.page_table %a[%cu] columns %n
      : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
}

// -----

// PageTableOp C3: live lengths from an expansion
nsa.step @step(in %n : index, in %a : tensor<?x?xi32>, in %b : tensor<?xi32>) {
  %four = nsa.expansion by 4
  %lens = nsa.expand_seqlens causal %b over %four : tensor<?xi32> -> tensor<?xi32>
  // expected-error @+1 {{expected rows and live lengths that depend neither on a cumulative sum nor on an expansion}}
  %tab = nsa.page_table %a[%b] columns %n live %lens : tensor<?xi32>
      : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
}

// -----

// PageTableOp C4: as many live lengths, by extent
nsa.step @step(in %n : index, in %a : tensor<?x?xi32>, in %b[%n] : tensor<?xi32>,
               in %c : tensor<?xi32>) {
  // expected-error @+1 {{expected as many live lengths as rows, with the same extent or static size}}
  %tab = nsa.page_table %a[%b] columns %n live %c : tensor<?xi32>
      : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
}

// -----

// PageTableOp C4: as many live lengths, by static size
nsa.step @step(in %n : index, in %a : tensor<?x?xi32>, in %b : tensor<4xi32>,
               in %c : tensor<3xi32>) {
  // expected-error @+1 {{expected as many live lengths as rows, with the same extent or static size}}
  %tab = nsa.page_table %a[%b] columns %n live %c : tensor<3xi32>
      : tensor<?x?xi32>, tensor<4xi32> -> tensor<4x?xi32>
}

// -----

// RealPageTableOp C1: page size
nsa.step @step(in %a : tensor<?x?xi32>) {
  // expected-error @+1 {{attribute 'page_size' failed to satisfy constraint: 32-bit signless integer attribute whose value is positive}}
  %real = nsa.real_page_table %a page_size 0 : tensor<?x?xi32> -> tensor<?x?xi32>
}

// -----

// RealPageTableOp C2: rows and columns
nsa.step @step(in %a : tensor<4x65xi32>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{inferred type(s) 'tensor<4x2xi32>' are incompatible with return type(s) of operation 'tensor<4x1xi32>'}}
  %real = nsa.real_page_table %a page_size 64 : tensor<4x65xi32> -> tensor<4x1xi32>
}

// -----

// ExpansionOp C1: a constant or an array
nsa.step @step(in %n : index, in %a : tensor<?xi32>) {
  // expected-error @+1 {{expected the rows of a request either as an array or as a constant}}
  %both = "nsa.expansion"(%a, %n) <{static_extend = 4,
      operandSegmentSizes = array<i32: 1, 1>}> : (tensor<?xi32>, index) -> !nsa.expansion
}

// -----

// ExpansionOp C1: neither a constant nor an array
nsa.step @step() {
  // expected-error @+1 {{expected the rows of a request either as an array or as a constant}}
  %none = "nsa.expansion"() <{operandSegmentSizes = array<i32: 0, 0>}> : () -> !nsa.expansion
}

// -----

// ExpansionOp C2: a constant
nsa.step @step() {
  // expected-error @+1 {{expected 0 to 2^31-1 rows for a request, but got -1}}
  %less = nsa.expansion by -1
}

// -----

// ExpansionOp C3: a bound for an array
nsa.step @step(in %a : tensor<?xi32>) {
  // expected-error @+1 {{expected a bound, because only the device knows how many rows there are}}
  %ragged = nsa.expansion by %a : tensor<?xi32>
}

// -----

// ExpansionOp C4: a bound for padding
nsa.step @step() {
  // expected-error @+1 {{expected a bound to pad to}}
  %padded = "nsa.expansion"() <{static_extend = 4, padded,
      operandSegmentSizes = array<i32: 0, 0>}> : () -> !nsa.expansion
}

// -----

// ExpansionOp C5: no other bound for a constant
nsa.step @step(in %n : index) {
  // expected-error @+1 {{expected no bound, because the host knows how many rows there are}}
  %four = nsa.expansion by 4 within %n
}

// -----

// ExpansionOp C6: an array of requests
nsa.step @step(in %n : index, in %a : tensor<?xi32>) {
  %cu = nsa.cu_seqlens %a : tensor<?xi32> -> tensor<?xi32>
  // expected-error @+1 {{expected an array that depends neither on a cumulative sum nor on an expansion}}
  %ragged = nsa.expansion by %cu within %n : tensor<?xi32>
}

// -----

// ExpansionOp C7: a bound that is computed
nsa.step @computed_bound(in %n : index, in %a[%n] : tensor<?xi32>) {
  %more = affine.apply affine_map<()[s0] -> (s0 * 4)>()[%n]
  // expected-error @+1 {{expected its bound to be an 'index' port}}
  %ragged = nsa.expansion by %a within %more : tensor<?xi32>
}

// -----

// ExpandSeqlensOp C1: no expansion of an expansion
nsa.step @step(in %a : tensor<?xi32>) {
  %four = nsa.expansion by 4
  %once = nsa.expand_seqlens causal %a over %four : tensor<?xi32> -> tensor<?xi32>
  // expected-error @+1 {{expected a source that depends neither on a cumulative sum nor on an expansion}}
  %twice = nsa.expand_seqlens causal %once over %four : tensor<?xi32> -> tensor<?xi32>
}

// -----

// ExpandSeqlensOp C1: no expansion of a sum
nsa.step @step(in %a : tensor<?xi32>) {
  %four = nsa.expansion by 4
  %cu = nsa.cu_seqlens %a : tensor<?xi32> -> tensor<?xi32>
  // expected-error @+1 {{expected a source that depends neither on a cumulative sum nor on an expansion}}
  %lens = nsa.expand_seqlens broadcast %cu over %four : tensor<?xi32> -> tensor<?xi32>
}

// -----

// ExpandSeqlensOp C2: the same requests
nsa.step @step(in %n : index, in %bound : index, in %a[%n] : tensor<?xi32>,
               in %b : tensor<?xi32>) {
  %ragged = nsa.expansion by %a within %bound : tensor<?xi32>
  // expected-error @+1 {{expected a source with as many requests as the array of its expansion, with the same extent or static size}}
  %lens = nsa.expand_seqlens causal %b over %ragged : tensor<?xi32> -> tensor<?xi32>
}

// -----

// ExpandSeqlensOp: an unknown kind
nsa.step @step(in %a : tensor<?xi32>) {
  %four = nsa.expansion by 4
  // expected-error @+1 {{expected string or keyword containing one of the following enum values for attribute 'kind' [causal, broadcast, following]}}
  %lens = nsa.expand_seqlens backwards %a over %four : tensor<?xi32> -> tensor<?xi32>
}

// -----

// ExpandRowsOp C1: no expansion of an expansion
nsa.step @step(in %a : tensor<?x?xi32>) {
  %four = nsa.expansion by 4
  %once = nsa.expand_rows %a over %four : tensor<?x?xi32> -> tensor<?x?xi32>
  // expected-error @+1 {{expected a source that depends neither on a cumulative sum nor on an expansion}}
  %twice = nsa.expand_rows %once over %four : tensor<?x?xi32> -> tensor<?x?xi32>
}

// -----

// ExpandRowsOp C2: the same requests
nsa.step @step(in %n : index, in %bound : index, in %a[%n] : tensor<?xi32>,
               in %b : tensor<?x?xi32>) {
  %ragged = nsa.expansion by %a within %bound : tensor<?xi32>
  // expected-error @+1 {{expected a source with as many requests as the array of its expansion, with the same extent or static size}}
  %rows = nsa.expand_rows %b over %ragged : tensor<?x?xi32> -> tensor<?x?xi32>
}

// -----

// TotalRowsOp C1: an expansion by an array
nsa.step @step() {
  %four = nsa.expansion by 4
  // expected-error @+1 {{expected an expansion by an array, because the host knows how many rows a constant gives}}
  %total = nsa.total_rows %four : tensor<1xi32>
}

// -----

// TotalRowsOp C2: for copies
nsa.step @step(in %n : index, in %a : tensor<?xi32>) {
  %ragged = nsa.expansion by %a within %n : tensor<?xi32>
  // expected-error @+1 {{expected its result to be copied only}}
  %total = nsa.total_rows %ragged : tensor<1xi32>
  %more = nsa.seqlens %total plus 1 : tensor<1xi32> -> tensor<1xi32>
}

// -----

// ContextLensOp C1: columns
nsa.step @step(in %a : tensor<?xi32>) {
  // expected-error @+1 {{attribute 'columns' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  %ctx = nsa.context_lens %a columns 0 : tensor<?xi32> -> tensor<?x0xi32>
}

// -----

// ContextLensOp C2: lengths of requests
nsa.step @step(in %a : tensor<?xi32>) {
  %cu = nsa.cu_seqlens %a : tensor<?xi32> -> tensor<?xi32>
  // expected-error @+1 {{expected a source that depends neither on a cumulative sum nor on an expansion}}
  %ctx = nsa.context_lens %cu columns 4 : tensor<?xi32> -> tensor<?x4xi32>
}

// -----

// ExpansionOp C2: products with numbers of requests fit 64 bits
nsa.step @step() {
  // expected-error @+1 {{expected 0 to 2^31-1 rows for a request, but got 2147483648}}
  %more = nsa.expansion by 2147483648
}

// -----

// PageTableOp C5: a table that is computed
nsa.step @step(in %n : index, in %t : tensor<?x?xi32>, in %rows[%n] : tensor<?xi32>) {
  %a = nsa.page_table %t[%rows] columns %n
      : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
  // expected-error @+1 {{expected req_to_token to be an 'in' port}}
  %b = nsa.page_table %a[%rows] columns %n
      : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
}

// -----

// RealPageTableOp C3: pages of pages whose columns in tokens would wrap
nsa.step @step(in %a : tensor<?x?xi32>) {
  %p = nsa.real_page_table %a page_size 65536 : tensor<?x?xi32> -> tensor<?x?xi32>
  // expected-error @+1 {{expected pages of 2^31-1 tokens or less, those of its source counted in tokens as well}}
  %q = nsa.real_page_table %p page_size 32768 : tensor<?x?xi32> -> tensor<?x?xi32>
}

// -----

// RealPageTableOp C3: also where rows are repeated in between
nsa.step @step(in %a : tensor<?x?xi32>) {
  %e = nsa.expansion by 2
  %p = nsa.real_page_table %a page_size 65536 : tensor<?x?xi32> -> tensor<?x?xi32>
  %r = nsa.expand_rows %p over %e : tensor<?x?xi32> -> tensor<?x?xi32>
  // expected-error @+1 {{expected pages of 2^31-1 tokens or less}}
  %q = nsa.real_page_table %r page_size 65536 : tensor<?x?xi32> -> tensor<?x?xi32>
}

// -----

// ExpandRowsOp C2: the rows of indices are queries, not top-k entries
nsa.step @step(in %bs : index, in %queries : index, in %limit : index, in %bound : index,
               in %starts[%bs + 1] : tensor<?xi32>, in %lens[%bs] : tensor<?xi32>,
               in %ti : tensor<?x?xi32>, in %ext[%limit] : tensor<?xi32>) {
  %i = nsa.combine_indices topk %limit of %ti : tensor<?x?xi32> queries %queries at %starts
      lengths %lens gathers %lens bases %lens, %lens ratio 1 window 1
      : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x?xi32>
  %e = nsa.expansion by %ext within %bound : tensor<?xi32>
  // expected-error @+1 {{expected a source with as many requests as the array of its expansion}}
  %r = nsa.expand_rows %i over %e : tensor<?x?xi32> -> tensor<?x?xi32>
}

// -----

// Of queries there are as many as the extent says.
nsa.step @step(in %bs : index, in %queries : index, in %bound : index,
               in %starts[%bs + 1] : tensor<?xi32>, in %lens[%bs] : tensor<?xi32>,
               in %ti : tensor<?x?xi32>, in %ext[%queries] : tensor<?xi32>) {
  %i = nsa.combine_indices topk %bs of %ti : tensor<?x?xi32> queries %queries at %starts
      lengths %lens gathers %lens bases %lens, %lens ratio 1 window 1
      : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32> -> tensor<?x?xi32>
  %e = nsa.expansion by %ext within %bound : tensor<?xi32>
  %r = nsa.expand_rows %i over %e : tensor<?x?xi32> -> tensor<?x?xi32>
}

// -----

// Values stand in steps and segments.
func.func @outside(%e : !nsa.expansion, %a : tensor<?xi32>) {
  // expected-error @+1 {{'nsa.expand_seqlens' op expects parent op to be one of 'nsa.step, nsa.segment'}}
  %x = nsa.expand_seqlens causal %a over %e : tensor<?xi32> -> tensor<?xi32>
  return
}
