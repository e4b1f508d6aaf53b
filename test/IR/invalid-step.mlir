// Steps that are refused, each under the number of the constraint that it breaks.

// RUN: nsa-opt %s --verify-diagnostics --split-input-file

// StepOp C1: the name of a step
// expected-error @+1 {{expected another name for the step than 'de-code', because it is not a C identifier}}
nsa.step @"de-code"(in %a : tensor<?xi32>) {
}

// -----

// StepOp C1: the name of a step, a keyword
// expected-error @+1 {{expected another name for the step than 'switch', because it is a keyword of C or C++}}
nsa.step @switch(in %a : tensor<?xi32>) {
}

// -----

// StepOp C1: names of ports
// expected-error @+1 {{expected another name for a port than 'seq-lens', because it is not a C identifier}}
nsa.step @step(in %seq-lens : tensor<?xi32>) {
}

// -----

// StepOp C1: names of ports, a digit first
// expected-error @+1 {{expected another name for a port than '0', because it is not a C identifier}}
nsa.step @step(in %0 : tensor<?xi32>) {
}

// -----

// StepOp C1: names of ports, none
// expected-error @+1 {{expected another name for a port than '', because it is not a C identifier}}
"nsa.step"() <{sym_name = "step", port_names = [""], extents = [array<i64>]}> ({
^bb0(%a : index):
}) : () -> ()

// -----

// StepOp C1: names of ports, a keyword of C++
// expected-error @+1 {{expected another name for a port than 'new', because it is a keyword of C or C++}}
nsa.step @step(in %new : tensor<?xi32>) {
}

// -----

// StepOp C1: unique names
// expected-error @+1 {{expected port names to be unique, but got 'a' twice}}
"nsa.step"() <{sym_name = "step", port_names = ["a", "a"],
               extents = [array<i64>, array<i64>]}> ({
^bb0(%a : index, %b : index):
}) : () -> ()

// -----

// StepOp C1: a name for every port
// expected-error @+1 {{expected 2 port names and lists of extents, one for each port, but got 1 and 2}}
"nsa.step"() <{sym_name = "step", port_names = ["a"],
               extents = [array<i64>, array<i64>]}> ({
^bb0(%a : index, %b : index):
}) : () -> ()

// -----

// StepOp C2: rank 3
// expected-error @+1 {{expected 'in' port 'a' to be an index or a tensor of rank 1 or 2 of i8, i16, i32, i64 or bf16, but got 'tensor<?x?x?xi32>'}}
nsa.step @step(in %a : tensor<?x?x?xi32>) {
}

// -----

// StepOp C2: rank 0
// expected-error @+1 {{expected 'in' port 'a' to be an index or a tensor of rank 1 or 2 of i8, i16, i32, i64 or bf16, but got 'tensor<i32>'}}
nsa.step @step(in %a : tensor<i32>) {
}

// -----

// StepOp C2: unknown rank
// expected-error @+1 {{expected 'in' port 'a' to be an index or a tensor of rank 1 or 2 of i8, i16, i32, i64 or bf16, but got 'tensor<*xi32>'}}
nsa.step @step(in %a : tensor<*xi32>) {
}

// -----

// StepOp C2: elements
// expected-error @+1 {{expected 'in' port 'a' to be an index or a tensor of rank 1 or 2 of i8, i16, i32, i64 or bf16, but got 'tensor<?xf32>'}}
nsa.step @step(in %a : tensor<?xf32>) {
}

// -----

// StepOp C2: elements with a sign
// expected-error @+1 {{expected 'in' port 'a' to be an index or a tensor of rank 1 or 2 of i8, i16, i32, i64 or bf16, but got 'tensor<?xui32>'}}
nsa.step @step(in %a : tensor<?xui32>) {
}

// -----

// StepOp C2: a scalar
// expected-error @+1 {{expected 'in' port 'a' to be an index or a tensor of rank 1 or 2 of i8, i16, i32, i64 or bf16, but got 'i32'}}
nsa.step @step(in %a : i32) {
}

// -----

// StepOp C3: elements
// expected-error @+1 {{expected 'out' port 'x' to be a memref of rank 1 or 2 of i8, i16, i32 or bf16 with a strided layout without offset and, for rank 2, an inner stride of 1, but got 'memref<?xi64>'}}
nsa.step @step(out %x : memref<?xi64>) {
}

// -----

// StepOp C3: rank
// expected-error @+1 {{expected 'out' port 'x' to be a memref of rank 1 or 2}}
nsa.step @step(out %x : memref<?x?x?xi32>) {
}

// -----

// StepOp C3: memory space
// expected-error @+1 {{expected 'out' port 'x' to be a memref of rank 1 or 2}}
nsa.step @step(out %x : memref<?xi32, 3>) {
}

// -----

// StepOp C3: offset
// expected-error @+1 {{expected 'out' port 'x' to be a memref of rank 1 or 2}}
nsa.step @step(out %x : memref<?xi32, strided<[1], offset: 4>>) {
}

// -----

// StepOp C3: dynamic offset
// expected-error @+1 {{expected 'out' port 'x' to be a memref of rank 1 or 2}}
nsa.step @step(out %x : memref<?xi32, strided<[1], offset: ?>>) {
}

// -----

// StepOp C3: a stride of 0
// expected-error @+1 {{expected 'out' port 'x' to be a memref of rank 1 or 2}}
nsa.step @step(out %x : memref<?x?xi32, strided<[0, 1]>>) {
}

// -----

// StepOp C3: a negative stride
// expected-error @+1 {{expected 'out' port 'x' to be a memref of rank 1 or 2}}
nsa.step @step(out %x : memref<?xi32, strided<[-1]>>) {
}

// -----

// StepOp C3: inner stride
// expected-error @+1 {{expected 'out' port 'x' to be a memref of rank 1 or 2}}
nsa.step @step(out %x : memref<?x?xi32, strided<[?, 2]>>) {
}

// -----

// StepOp C3: a layout without strides
// expected-error @+1 {{expected 'out' port 'x' to be a memref of rank 1 or 2}}
nsa.step @step(out %x : memref<?xi32, affine_map<(d0) -> (d0 floordiv 2)>>) {
}

// -----

// StepOp C4: one extent for each dimension
// expected-error @+1 {{expected one extent for each dimension of port 'a', but got 1 for 'tensor<?x?xi32>'}}
nsa.step @step(in %n : index, in %a[%n] : tensor<?x?xi32>) {
}

// -----

// StepOp C4: extents of tensors only
// expected-error @+1 {{expected one extent for each dimension of port 'x', but got 1 for 'memref<?xi32>'}}
nsa.step @step(in %n : index, out %x[%n] : memref<?xi32>) {
}

// -----

// StepOp C4: extents of tensors only, a size
// expected-error @+1 {{expected one extent for each dimension of port 'm', but got 1 for 'index'}}
nsa.step @step(in %n : index, in %m[%n] : index) {
}

// -----

// StepOp C4: an extent is an index
// expected-error @+1 {{expected extent 0 of port 'b' to be an index port}}
nsa.step @step(in %a : tensor<?xi32>, in %b[%a] : tensor<?xi32>) {
}

// -----

// StepOp C4: an extent is a port
// expected-error @+1 {{expected extent 0 of port 'a' to be an index port}}
"nsa.step"() <{sym_name = "step", port_names = ["a"], extents = [array<i64: 7>]}> ({
^bb0(%a : tensor<?xi32>):
}) : () -> ()

// -----

// StepOp C4: dynamic dimensions
// expected-error @+1 {{expected dimension 1 of port 'a' to be dynamic because it has an extent, but got 'tensor<?x8xi32>'}}
nsa.step @step(in %n : index, in %a[?, %n] : tensor<?x8xi32>) {
}

// -----

// StepOp C5: one copy a destination
nsa.step @step(in %a : tensor<?xi32>, in %b : tensor<?xi32>,
               out %x : memref<?xi32>) {
  // expected-note @+1 {{the other copy is here}}
  nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
  // expected-error @+1 {{writes to port 'x', which another copy writes to}}
  nsa.copy %b to %x : tensor<?xi32> to memref<?xi32>
}

// -----

// StepOp C5: one copy a destination, in launches too
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, out %x : memref<?xi32>) {
  nsa.launch @one {
    nsa.segment tile(%n) {
      // expected-note @+1 {{the other copy is here}}
      nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
    }
  }
  nsa.launch @two {
    nsa.segment tile(%n) {
      // expected-error @+1 {{writes to port 'x', which another copy writes to}}
      nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
    }
  }
}

// -----

// StepOp C6: values of this dialect only
nsa.step @step(in %a : tensor<?xi32>, out %x : memref<?xi32>) {
  // expected-error @+1 {{'arith.addi' op is not one of those that the body of a step holds: copies, launches, nsa values and sizes}}
  %sum = arith.addi %a, %a : tensor<?xi32>
  nsa.copy %sum to %x : tensor<?xi32> to memref<?xi32>
}

// -----

// StepOp C6: effects by copies only
nsa.step @step(in %n : index, out %x : memref<?xi32>) {
  %zero = arith.constant 0 : i32
  // expected-error @+1 {{'memref.store' op is not one of those that the body of a step holds}}
  memref.store %zero, %x[%n] : memref<?xi32>
}

// -----

// StepOp C6: no control flow around copies
nsa.step @step(in %a : tensor<?xi32>, out %x : memref<?xi32>) {
  %true = arith.constant true
  // expected-error @+1 {{'scf.if' op is not one of those that the body of a step holds}}
  scf.if %true {
    nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
  }
}

// -----

// A step uses its ports only.
%n = arith.constant 4 : index
// expected-note @+1 {{required by region isolation constraints}}
nsa.step @step(in %a : tensor<?x?xi32>, in %b : tensor<?xi32>) {
  // expected-error @+1 {{using value defined outside the region}}
  %tab = nsa.page_table %a[%b] columns %n
      : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
}

// -----

// Steps have names of their own.
// expected-note @+1 {{see existing symbol definition here}}
nsa.step @step(in %a : tensor<?xi32>) {
}
// expected-error @+1 {{redefinition of symbol named 'step'}}
nsa.step @step(in %a : tensor<?xi32>) {
}
