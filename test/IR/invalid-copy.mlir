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
  "nsa.copy"(%a) : (tensor<?xi32>) -> ()
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
