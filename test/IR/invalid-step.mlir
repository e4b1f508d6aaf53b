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
"nsa.step"() <{sym_name = "step", port_names = [""], extents = [array<i64>]}> ({
// expected-error @+1 {{expected another name for a port than '', because it is not a C identifier}}
^bb0(%a : index):
}) : () -> ()

// -----

// StepOp C1: names of ports, a keyword of C++
// expected-error @+1 {{expected another name for a port than 'new', because it is a keyword of C or C++}}
nsa.step @step(in %new : tensor<?xi32>) {
}

// -----

// StepOp C1: unique names
"nsa.step"() <{sym_name = "step", port_names = ["a", "a"],
               extents = [array<i64>, array<i64>]}> ({
// expected-error @+1 {{expected port names to be unique, but got 'a' twice}}
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
// expected-error @+1 {{expected 'in' port 'a' to be an index or a tensor of rank 1 or 2 of i8, i16, i32, i64, bf16 or f32, but got 'tensor<?x?x?xi32>'}}
nsa.step @step(in %a : tensor<?x?x?xi32>) {
}

// -----

// StepOp C2: rank 0
// expected-error @+1 {{expected 'in' port 'a' to be an index or a tensor of rank 1 or 2 of i8, i16, i32, i64, bf16 or f32, but got 'tensor<i32>'}}
nsa.step @step(in %a : tensor<i32>) {
}

// -----

// StepOp C2: unknown rank
// expected-error @+1 {{expected 'in' port 'a' to be an index or a tensor of rank 1 or 2 of i8, i16, i32, i64, bf16 or f32, but got 'tensor<*xi32>'}}
nsa.step @step(in %a : tensor<*xi32>) {
}

// -----

// StepOp C2: elements
// expected-error @+1 {{expected 'in' port 'a' to be an index or a tensor of rank 1 or 2 of i8, i16, i32, i64, bf16 or f32, but got 'tensor<?xf64>'}}
nsa.step @step(in %a : tensor<?xf64>) {
}

// -----

// StepOp C2: elements with a sign
// expected-error @+1 {{expected 'in' port 'a' to be an index or a tensor of rank 1 or 2 of i8, i16, i32, i64, bf16 or f32, but got 'tensor<?xui32>'}}
nsa.step @step(in %a : tensor<?xui32>) {
}

// -----

// StepOp C2: a scalar
// expected-error @+1 {{expected 'in' port 'a' to be an index or a tensor of rank 1 or 2 of i8, i16, i32, i64, bf16 or f32, but got 'i32'}}
nsa.step @step(in %a : i32) {
}

// -----

// StepOp C3: elements
// expected-error @+1 {{expected 'out' port 'x' to be a memref of rank 1 or 2 of i8, i16, i32, i64, bf16 or f32 with a strided layout without offset and, for rank 2, an inner stride of 1, but got 'memref<?xf64>'}}
nsa.step @step(out %x : memref<?xf64>) {
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
"nsa.step"() <{sym_name = "step", port_names = ["a"], extents = [array<i64: 7>]}> ({
// expected-error @+1 {{expected extent 0 of port 'a' to be an index port}}
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
  // expected-error @+1 {{'arith.addi' op is not one of those that the body of a step holds: copies, launches, nsa values, and sizes (a constant, a 'tensor.dim' of a port, or an 'affine.apply')}}
  %sum = arith.addi %a, %a : tensor<?xi32>
  nsa.copy %sum to %x : tensor<?xi32> to memref<?xi32>
}

// -----

// StepOp C6: effects by copies only
nsa.step @step(in %n : index, out %x : memref<?xi32>) {
  // expected-error @+1 {{'memref.dealloc' op is not one of those that the body of a step holds}}
  memref.dealloc %x : memref<?xi32>
}

// -----

// StepOp C6: no control flow around copies
nsa.step @step(in %a : tensor<?xi32>, out %x : memref<?xi32>) {
  // expected-error @+1 {{'scf.execute_region' op is not one of those that the body of a step holds}}
  scf.execute_region {
    nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
    scf.yield
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

// -----

// StepOp C5: a port that nothing writes
nsa.step @step(in %a : tensor<?xi32>, out %x : memref<?xi32>,
               // expected-error @+1 {{expected a copy to 'out' port 'y', which nothing writes}}
               out %y : memref<?xi32>) {
  nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
}

// -----

// StepOp C6: launchers divide by constants
nsa.step @step(in %n : index, in %m : index) {
  // expected-error @+1 {{expected the divisors of a size to be constants of 1 or more}}
  %s = affine.apply affine_map<()[s0, s1] -> (s0 floordiv s1)>()[%n, %m]
}

// -----

// StepOp C6: sizes that are no dimension
nsa.step @step(in %t : tensor<?xi32>) {
  %c7 = arith.constant 7 : index
  // expected-error @+1 {{expected a size to be that of a port in a dimension that it has, given by a constant}}
  %d = tensor.dim %t, %c7 : tensor<?xi32>
}

// -----

// StepOp C6: sizes of values follow from those of ports
nsa.step @step(in %t : tensor<?xi32>) {
  %c0 = arith.constant 0 : index
  %cu = nsa.cu_seqlens %t : tensor<?xi32> -> tensor<?xi32>
  // expected-error @+1 {{expected a size to be that of a port}}
  %d = tensor.dim %cu, %c0 : tensor<?xi32>
}

// -----

// StepOp C6: sizes are not chosen
nsa.step @step(in %n : index, in %m : index) {
  // expected-error @+1 {{'arith.maxsi' op is not one of those that the body of a step holds}}
  %s = arith.maxsi %n, %m : index
}

// -----

// StepOp C6: neither are expansions
nsa.step @step(in %n : index) {
  %c = arith.constant 1 : index
  %a = nsa.expansion by 2
  %b = nsa.expansion by 3
  %is = builtin.unrealized_conversion_cast %c : index to i1 // expected-error {{is not one of those that the body of a step holds}}
  %e = arith.select %is, %a, %b : !nsa.expansion
}

// -----

// StepOp C6: no elements of arrays
nsa.step @step(in %t : tensor<?xi32>) {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{'tensor.extract' op is not one of those that the body of a step holds}}
  %e = tensor.extract %t[%c0] : tensor<?xi32>
}

// -----

// StepOp C8: a value that depends on itself
nsa.step @step(in %raw : tensor<?xi32>) {
  // expected-note @+2 {{operand defined here}}
  // expected-error @+1 {{operand #0 does not dominate this use}}
  %lens = nsa.clip_seqlens %lens to 2048 : tensor<?xi32>
}

// -----

// StepOp C8: a cycle of three, with a size
nsa.step @step(in %raw : tensor<?xi32>, in %t : tensor<?x?xi32>) {
  // expected-error @+1 {{operand #0 does not dominate this use}}
  %a = nsa.clip_seqlens %b to 2048 : tensor<?xi32>
  %c = nsa.window_lens %a, %raw window 4 : tensor<?xi32>, tensor<?xi32>
  // expected-note @+1 {{operand defined here}}
  %b = nsa.window_lens %c, %c window 4 : tensor<?xi32>, tensor<?xi32>
}

// -----

// StepOp C8: sizes, too
nsa.step @step(in %raw : tensor<?xi32>) {
  // expected-note @+2 {{operand defined here}}
  // expected-error @+1 {{operand #0 does not dominate this use}}
  %n = affine.apply affine_map<()[s0] -> (s0 + 1)>()[%n]
}

// -----

// StepOp C8: an expansion by itself
nsa.step @step(in %n : index) {
  // expected-error @+1 {{operand #0 does not dominate this use}}
  %e = nsa.expansion by %x within %n : tensor<?xi32>
  // expected-note @+1 {{operand defined here}}
  %x = nsa.expand_seqlens causal %x over %e : tensor<?xi32> -> tensor<?xi32>
}

// -----

// Attributes that an operation does not know.
nsa.step @step(in %a : tensor<?xi64>, out %x : memref<?xi32>) {
  %len = nsa.seqlens %a plus 0 : tensor<?xi64> -> tensor<?xi32>
  // expected-error @+1 {{'nsa.copy' op has no attribute 'pad_value'}}
  nsa.copy %len to %x {pad_value = 1 : i32} : tensor<?xi32> to memref<?xi32>
}

// -----

// expected-error @+1 {{'nsa.step' op has no attribute 'guard'}}
nsa.step @step(in %a : tensor<?xi64>) attributes {guard} {
}
