// Text that does not parse.

// RUN: nsa-opt %s --verify-diagnostics --split-input-file

// expected-error @+1 {{expected valid '@'-identifier for symbol name}}
nsa.step (in %a : tensor<?xi32>) {
}

// -----

// expected-error @+1 {{expected '('}}
nsa.step @step {
}

// -----

// expected-error @+1 {{expected a port: 'in', 'out' or 'inout'}}
nsa.step @step(%a : tensor<?xi32>) {
}

// -----

// expected-error @+1 {{expected a port: 'in', 'out' or 'inout'}}
nsa.step @step(to %a : tensor<?xi32>) {
}

// -----

// expected-error @+1 {{expected SSA operand}}
nsa.step @step(in a : tensor<?xi32>) {
}

// -----

// expected-error @+1 {{expected ':'}}
nsa.step @step(in %a) {
}

// -----

// expected-error @+1 {{expected non-function type}}
nsa.step @step(in %a : ) {
}

// -----

// expected-error @+1 {{expected an 'out' port for a memref but got 'in' with type 'memref<?xi32>'}}
nsa.step @step(in %a : memref<?xi32>) {
}

// -----

// expected-error @+1 {{expected an 'out' port to be a memref but got 'out' with type 'tensor<?xi32>'}}
nsa.step @step(out %x : tensor<?xi32>) {
}

// -----

// expected-error @+1 {{expected the extent '%m' to be a port of the step}}
nsa.step @step(in %n : index, in %a[%m] : tensor<?xi32>) {
}

// -----

// expected-error @+1 {{expected ']'}}
nsa.step @step(in %n : index, in %a[%n : tensor<?xi32>) {
}

// -----

// expected-error @+1 {{expected SSA operand}}
nsa.step @step(in %a[4] : tensor<?xi32>) {
}

// -----

// expected-error @+2 {{region entry argument '%a' is already in use}}
// expected-note @+1 {{previously referenced here}}
nsa.step @step(in %a : tensor<?xi32>, in %a : tensor<?xi32>) {
}

// -----

// expected-error @+1 {{expected '{' to begin a region}}
nsa.step @step(in %a : tensor<?xi32>)

// -----

nsa.step @step(in %a : tensor<?xi32>) {
  // expected-error @+1 {{custom op 'nsa.median' is unknown}}
  %m = nsa.median %a : tensor<?xi32>
}

// -----

nsa.step @step(in %a : tensor<?xi32>) {
  // expected-error @+1 {{expected 'plus'}}
  %len = nsa.seqlens %a : tensor<?xi32> -> tensor<?xi32>
}

// -----

nsa.step @step(in %a : tensor<?xi32>) {
  // expected-error @+1 {{expected '->'}}
  %len = nsa.seqlens %a plus 0 : tensor<?xi32>
}

// -----

nsa.step @step(in %a : tensor<?xi32>) {
  // expected-error @+1 {{integer constant out of range for attribute}}
  %len = nsa.seqlens %a plus 4294967296 : tensor<?xi32> -> tensor<?xi32>
}

// -----

nsa.step @step(in %a : tensor<?x?xi32>, in %b : tensor<?xi32>) {
  // expected-error @+1 {{expected attribute value}}
  %tab = nsa.page_table %a[%b] columns : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
}

// -----

nsa.step @step(in %a : tensor<?xi32>) {
  // expected-error @+1 {{use of undeclared SSA value name}}
  nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
}

// -----

nsa.step @step(in %a : tensor<?xi32>, out %x : memref<?xi32>) {
  // expected-error @+1 {{expected SSA operand}}
  nsa.copy %a to %x, : tensor<?xi32> to memref<?xi32>
}

// -----

nsa.step @step(in %n : index) {
  nsa.launch @launch {
    // expected-error @+1 {{expected string or keyword containing one of the following enum values for attribute 'kind' [scan,}}
    nsa.segment spiral(%n) {
    }
  }
}
