// Copies that are refused, each under the number of the constraint that it
// breaks.

// RUN: nsa-opt %s --verify-diagnostics --split-input-file

// CopyOp C1: in a step
func.func @step(%a : tensor<?xi32>, %x : memref<?xi32>) {
  // expected-error @+1 {{expected to be inside of an 'nsa.step'}}
  nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
  return
}

// -----

// CopyOp C1: ports
nsa.step @step(in %a : tensor<?xi32>, out %x : memref<?xi32>) {
  %y = memref.cast %x : memref<?xi32> to memref<4xi32>
  // expected-error @+1 {{expected every destination to be an 'out' port of the step}}
  nsa.copy %a to %y : tensor<?xi32> to memref<4xi32>
}

// -----

// CopyOp C2: none
nsa.step @step(in %a : tensor<?xi32>) {
  // expected-error @+1 {{expected at least one destination}}
  "nsa.copy"(%a) <{operandSegmentSizes = array<i32: 1, 0, 0, 0>}> : (tensor<?xi32>) -> ()
}

// -----

// CopyOp C2: twice
nsa.step @step(in %a : tensor<?xi32>, out %x : memref<?xi32>) {
  // expected-error @+1 {{expected each destination once, but got 'x' twice}}
  nsa.copy %a to %x, %x : tensor<?xi32> to memref<?xi32>, memref<?xi32>
}

// -----

// CopyOp C3: rank
nsa.step @step(in %a : tensor<?xi32>, out %x : memref<?x?xi32>) {
  // expected-error @+1 {{expected destination 'x' to have rank 1 but got 'memref<?x?xi32>'}}
  nsa.copy %a to %x : tensor<?xi32> to memref<?x?xi32>
}

// -----

// CopyOp C4: rows
nsa.step @step(in %a : tensor<4xi32>, out %x : memref<3xi32>) {
  // expected-error @+1 {{expected dimension 0 of destination 'x' to have at least 4 elements, but got 'memref<3xi32>'}}
  nsa.copy %a to %x : tensor<4xi32> to memref<3xi32>
}

// -----

// CopyOp C4: columns of one destination of two
nsa.step @step(in %a : tensor<?x96xi32>, out %x : memref<?x96xi32>,
               out %y : memref<?x95xi32>) {
  // expected-error @+1 {{expected dimension 1 of destination 'y' to have at least 96 elements, but got 'memref<?x95xi32>'}}
  nsa.copy %a to %x, %y : tensor<?x96xi32> to memref<?x96xi32>, memref<?x95xi32>
}

// -----

// CopyOp: elements of the value
nsa.step @step(in %a : tensor<?xi64>, out %x : memref<?xi32>) {
  // expected-error @+1 {{expected destination 'x' to have elements of type 'i64' but got 'memref<?xi32>'}}
  nsa.copy %a to %x : tensor<?xi64> to memref<?xi32>
}

// -----

// CopyOp C3: places
nsa.step @step(in %a : tensor<4xi32>, in %p : tensor<4xi64>, out %x : memref<?x?xi32>) {
  // expected-error @+1 {{expected destination 'x' to have rank 1, as there are so many places, but got 'memref<?x?xi32>'}}
  nsa.copy %a at [%p] to %x : tensor<4xi32> at tensor<4xi64> to memref<?x?xi32>
}

// -----

// CopyOp C5: from with a condition
nsa.step @step(in %a : tensor<4xi32>, in %m : tensor<4xi8>, out %x : memref<?xi32>) {
  // expected-error @+1 {{expected 'from' to be 0 or more, and 0 unless the value has rank 1 and there is neither 'when' nor 'at', but got 1}}
  nsa.copy %a when %m from 1 to %x : tensor<4xi32> when tensor<4xi8> to memref<?xi32>
}

// -----

// CopyOp C7: another size
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, in %m : tensor<?xi8>, out %x : memref<?xi32>) {
  // expected-error @+1 {{expected 'when' and 'at' to have the sizes of the value, an element for each of its, but got 'tensor<?xi8>' for 'tensor<?xi32>'}}
  nsa.copy %a when %m to %x : tensor<?xi32> when tensor<?xi8> to memref<?xi32>
}

// -----

// CopyOp C7: another rank
nsa.step @step(in %a : tensor<4x4xi32>, in %p : tensor<4xi32>, out %x : memref<?xi32>) {
  // expected-error @+1 {{expected 'when' and 'at' to have the sizes of the value, an element for each of its, but got 'tensor<4xi32>' for 'tensor<4x4xi32>'}}
  nsa.copy %a at [%p] to %x : tensor<4x4xi32> at tensor<4xi32> to memref<?xi32>
}

// -----

// CopyOp C8: sums by walking
nsa.step @step(in %a : tensor<4xi32>, in %m : tensor<5xi8>, out %x : memref<?xi32>) {
  %cu = nsa.cu_seqlens %a : tensor<4xi32> -> tensor<5xi32>
  // expected-error @+1 {{expected what 'when' and 'at' store to be computed element by element, but got one made from an 'nsa.cu_seqlens' or an 'nsa.expansion'; write it with 'nsa.map' and 'nsa.scan'}}
  nsa.copy %cu when %m to %x : tensor<5xi32> when tensor<5xi8> to memref<?xi32>
}

// -----

// CopyMetadataOp C1: the source
nsa.step @step(in %a : tensor<?xi32>, out %x : !nsa.metadata_ref<decode>) {
  %set = builtin.unrealized_conversion_cast %a : tensor<?xi32> to !nsa.metadata<decode>
  // expected-error @+1 {{expected an 'in' port as its source}}
  nsa.copy_metadata %set to %x : !nsa.metadata<decode> to !nsa.metadata_ref<decode>
}

// -----

// CopyMetadataOp C1: destinations
nsa.step @step(in %bs : index, in %max_len : index,
               in %a[%bs, %max_len] : !nsa.metadata<decode>, out %x : memref<?xi32>) {
  %set = builtin.unrealized_conversion_cast %x : memref<?xi32> to !nsa.metadata_ref<decode>
  // expected-error @+1 {{expected every destination to be an 'out' port of the step}}
  nsa.copy_metadata %a to %set : !nsa.metadata<decode> to !nsa.metadata_ref<decode>
}
