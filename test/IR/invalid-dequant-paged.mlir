// Dequantisation that is refused.

// RUN: nsa-opt %s --split-input-file --verify-diagnostics

// DequantPagedOp C1
nsa.step @c1(in %cache : tensor<?x?xi8>, in %ids : tensor<?xi32>,
             out %out : memref<?x512xbf16>) {
  // expected-error @below {{failed to infer returned types}}
  // expected-error @below {{'tensor<?x576xbf16>' are incompatible with return type(s) of operation 'tensor<?x512xbf16>'}}
  %kv = nsa.dequant_paged %cache[%ids] layout #nsa.kv_layout<v32> page_size 64
      : tensor<?x?xi8>, tensor<?xi32> -> tensor<?x512xbf16>
  nsa.copy %kv to %out : tensor<?x512xbf16> to memref<?x512xbf16>
}

// -----

// DequantPagedOp C2
nsa.step @c2(in %cache : tensor<?x?xi8>, in %ids : tensor<?xi32>,
             out %out : memref<?x576xbf16>) {
  // expected-error @below {{attribute 'page_size' failed to satisfy constraint: 32-bit signless integer attribute whose value is positive}}
  %kv = nsa.dequant_paged %cache[%ids] layout #nsa.kv_layout<v32> page_size 0
      : tensor<?x?xi8>, tensor<?xi32> -> tensor<?x576xbf16>
  nsa.copy %kv to %out : tensor<?x576xbf16> to memref<?x576xbf16>
}

// -----

// DequantPagedOp C3
nsa.step @c3(in %cache : tensor<?x41983xi8>, in %ids : tensor<?xi32>,
             out %out : memref<?x576xbf16>) {
  // expected-error @below {{expected rows of the cache to hold a page of 41984 bytes, but got 'tensor<?x41983xi8>'}}
  %kv = nsa.dequant_paged %cache[%ids] layout #nsa.kv_layout<v32> page_size 64
      : tensor<?x41983xi8>, tensor<?xi32> -> tensor<?x576xbf16>
  nsa.copy %kv to %out : tensor<?x576xbf16> to memref<?x576xbf16>
}

// -----

// DequantPagedOp C3
nsa.step @c3_port(in %pages : index, in %ids : tensor<?xi32>,
                  out %out : memref<?x576xbf16>) {
  %cache = nsa.map(%r, %c) in (%pages, 41984) : tensor<?x41984xi8> {
    %zero = arith.constant 0 : i8
    nsa.yield %zero : i8
  }
  // expected-error @below {{expected the cache to be an 'in' port}}
  %kv = nsa.dequant_paged %cache[%ids] layout #nsa.kv_layout<v32> page_size 64
      : tensor<?x41984xi8>, tensor<?xi32> -> tensor<?x576xbf16>
  nsa.copy %kv to %out : tensor<?x576xbf16> to memref<?x576xbf16>
}

// -----

// DequantPagedOp C4
nsa.step @c4(in %cache : tensor<?x?xi8>, in %lens : tensor<?xi32>,
             out %out : memref<?x576xbf16>) {
  %cu = nsa.cu_seqlens %lens : tensor<?xi32> -> tensor<?xi32>
  // expected-error @below {{expected ids that do not depend on a cumulative sum}}
  %kv = nsa.dequant_paged %cache[%cu] layout #nsa.kv_layout<v32> page_size 64
      : tensor<?x?xi8>, tensor<?xi32> -> tensor<?x576xbf16>
  nsa.copy %kv to %out : tensor<?x576xbf16> to memref<?x576xbf16>
}

// -----

// CopyOp C6
nsa.step @copy_c5(in %cache : tensor<?x?xi8>, in %ids : tensor<?xi32>,
                  out %out : memref<?x576xi16>) {
  %kv = nsa.dequant_paged %cache[%ids] layout #nsa.kv_layout<v32> page_size 64
      : tensor<?x?xi8>, tensor<?xi32> -> tensor<?x576xbf16>
  // expected-error @below {{expected destination 'out' to have elements of type 'bf16' but got 'memref<?x576xi16>'}}
  nsa.copy %kv to %out : tensor<?x576xbf16> to memref<?x576xi16>
}

// -----

// SegmentOp C3
nsa.step @segment_c3(in %a : tensor<8xi32>, in %b : tensor<8xi16>,
                     out %x : memref<8xi32>, out %y : memref<8xi16>) {
  %c8 = arith.constant 8 : index
  nsa.launch @l {
    nsa.segment tile(%c8) {
      nsa.copy %a to %x : tensor<8xi32> to memref<8xi32>
      // expected-error @below {{expected elements of 32 bits like those of the segment's first copy, but got 'tensor<8xi16>'}}
      nsa.copy %b to %y : tensor<8xi16> to memref<8xi16>
    }
  }
}
