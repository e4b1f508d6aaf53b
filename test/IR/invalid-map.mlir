// Formulas that are refused, each under the number of the constraint that it
// breaks.

// RUN: nsa-opt %s --verify-diagnostics --split-input-file

// MapOp C1
nsa.step @step() {
  // expected-error @+1 {{expected 1 or 2 sizes but got 3}}
  %x = nsa.map(%a, %b, %c) in (1, 2, 3) : tensor<1x2xi32> {
    %zero = arith.constant 0 : i32
    nsa.yield %zero : i32
  }
}

// -----

// MapOp C1: a size that is missing
nsa.step @step(in %n : index) {
  // expected-error @+1 {{expected an operand for each size that is not a constant}}
  %x = "nsa.map"(%n) <{static_sizes = array<i64: 4>}> ({
  ^bb0(%r: index):
    %zero = arith.constant 0 : i32
    nsa.yield %zero : i32
  }) : (index) -> tensor<4xi32>
}

// -----

// MapOp C1: a negative size
nsa.step @step() {
  // expected-error @+1 {{expected sizes from 0 to 2147483647, but got -4}}
  %x = nsa.map(%r) in (-4) : tensor<?xi32> {
    %zero = arith.constant 0 : i32
    nsa.yield %zero : i32
  }
}

// -----

// MapOp C2
nsa.step @step(in %n : index) {
  // expected-error @+1 {{expected a body with 2 arguments of type 'index'}}
  %x = nsa.map(%r) in (%n, 4) : tensor<?x4xi32> {
    %zero = arith.constant 0 : i32
    nsa.yield %zero : i32
  }
}

// -----

// MapOp C3
nsa.step @step(in %n : index) {
  // expected-error @+1 {{expected a result of type 'tensor<?x4xi32>' but got 'tensor<?x?xi32>'}}
  %x = nsa.map(%r, %c) in (%n, 4) : tensor<?x?xi32> {
    %zero = arith.constant 0 : i32
    nsa.yield %zero : i32
  }
}

// -----

// MapOp C3: another element
nsa.step @step(in %n : index) {
  %x = nsa.map(%r) in (%n) : tensor<?xi64> {
    %zero = arith.constant 0 : i32
    // expected-error @+1 {{expected an element of type 'i64' but got 'i32'}}
    nsa.yield %zero : i32
  }
}

// -----

// MapOp C3: no element of an array
nsa.step @step(in %n : index) {
  // expected-error @+1 {{result #0 must be}}
  %x = nsa.map(%r) in (%n) : tensor<?xi1> {
    %true = arith.constant true
    nsa.yield %true : i1
  }
}

// -----

// MapOp C4: effects and loops
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>) {
  %x = nsa.map(%r) in (%n) : tensor<?xi32> {
    %zero = arith.constant 0 : index
    // expected-error @+1 {{expected a formula of 'nsa.read', 'nsa.search' and the operations of 'arith' that 'nsa.map' lists}}
    %element = tensor.extract %a[%zero] : tensor<?xi32>
    nsa.yield %element : i32
  }
}

// -----

// MapOp C4: an operation that is not listed
nsa.step @step(in %n : index) {
  %x = nsa.map(%r) in (%n) : tensor<?xf32> {
    %one = arith.constant 1.0 : f32
    // expected-error @+1 {{expected a formula of 'nsa.read', 'nsa.search' and the operations of 'arith' that 'nsa.map' lists}}
    %rest = arith.remf %one, %one : f32
    nsa.yield %rest : f32
  }
}

// -----

// MapOp C4: vectors
nsa.step @step(in %n : index) {
  %x = nsa.map(%r) in (%n) : tensor<?xi32> {
    // expected-error @+1 {{expected numbers of type i1, i8, i16, i32, i64, index, bf16 or f32}}
    %ones = arith.constant dense<1> : vector<4xi32>
    %one = arith.constant 1 : i32
    nsa.yield %one : i32
  }
}

// -----

// MapOp C4: arithmetic on bf16
nsa.step @step(in %n : index) {
  %x = nsa.map(%r) in (%n) : tensor<?xbf16> {
    %one = arith.constant 1.0 : bf16
    // expected-error @+1 {{expected no arithmetic on bf16, which is converted to f32 before}}
    %two = arith.addf %one, %one : bf16
    nsa.yield %two : bf16
  }
}

// -----

// MapOp C4: flags
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>) {
  %x = nsa.map(%r) in (%n) : tensor<?xi32> {
    %element = nsa.read %a[%r] : tensor<?xi32>
    // expected-error @+1 {{expected no flag, because it promises what contents of a device array can break}}
    %sum = arith.addi %element, %element overflow<nsw> : i32
    nsa.yield %sum : i32
  }
}

// -----

// MapOp C4: flags of a division
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>) {
  %x = nsa.map(%r) in (%n) : tensor<?xi32> {
    %element = nsa.read %a[%r] : tensor<?xi32>
    // expected-error @+1 {{expected no flag}}
    %quotient = arith.divsi %element, %element exact : i32
    nsa.yield %quotient : i32
  }
}

// -----

// MapOp C5
nsa.step @step(in %n : index, out %a : memref<?xi32>) {
  %x = nsa.map(%r) in (%n) : tensor<?xi32> {
    // expected-error @+1 {{expected port 'a' to be 'in' or 'inout', because it is read}}
    %element = "nsa.read"(%a, %r) <{operandSegmentSizes = array<i32: 1, 1, 0>}> : (memref<?xi32>, index) -> i32
    nsa.yield %element : i32
  }
}

// -----

// MapOp C5: the number of rows, which only a copy has
nsa.step @step(in %n : index, in %extend[%n] : tensor<?xi32>, in %bound : index) {
  %rows = nsa.expansion by %extend within %bound : tensor<?xi32>
  // expected-error @+1 {{expected its result to be copied only}}
  %total = nsa.total_rows %rows : tensor<1xi32>
  %x = nsa.map(%r) in (%n) : tensor<?xi32> {
    %zero = arith.constant 0 : index
    %element = nsa.read %total[%zero] : tensor<1xi32>
    nsa.yield %element : i32
  }
}

// -----

// ReadOp C1
nsa.step @step(in %n : index, in %a : tensor<?x?xi32>) {
  %x = nsa.map(%r) in (%n) : tensor<?xi32> {
    %zero = arith.constant 0 : i32
    // expected-error @+1 {{expected 2 indices for 'tensor<?x?xi32>' but got 1}}
    %element = nsa.read %a[%r] else %zero : tensor<?x?xi32>
    nsa.yield %element : i32
  }
}

// -----

// ReadOp C2
nsa.step @step(in %n : index, in %a : tensor<?xi32>) {
  %x = nsa.map(%r) in (%n) : tensor<?xi32> {
    %zero = arith.constant 0 : i64
    // expected-error @+1 {{expected an 'else' of type 'i32' but got 'i64'}}
    %element = "nsa.read"(%a, %r, %zero) <{operandSegmentSizes = array<i32: 1, 1, 1>}> : (tensor<?xi32>, index, i64) -> i32
    nsa.yield %element : i32
  }
}

// -----

// ReadOp C3
nsa.step @step(in %n : index, in %a : tensor<?xi32>) {
  %x = nsa.map(%r) in (%n) : tensor<?xi32> {
    // expected-error @+1 {{expected an 'else', because nothing says that index 0 is 0 or more and less than the size of dimension 0 of 'tensor<?xi32>'}}
    %element = nsa.read %a[%r] : tensor<?xi32>
    nsa.yield %element : i32
  }
}

// -----

// ReadOp C3: an index from a device array
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, in %b : tensor<?x4xi32>) {
  %x = nsa.map(%r) in (%n) : tensor<?xi32> {
    %row = nsa.read %a[%r] : tensor<?xi32>
    %i = arith.index_cast %row : i32 to index
    %three = arith.constant 3 : index
    // expected-error @+1 {{expected an 'else', because nothing says that index 0 is 0 or more and less than the size of dimension 0}}
    %element = nsa.read %b[%i, %three] : tensor<?x4xi32>
    nsa.yield %element : i32
  }
}

// -----

// ReadOp C3: one past the last
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, in %b : tensor<?x4xi32>) {
  %x = nsa.map(%r) in (%n) : tensor<?xi32> {
    %one = arith.constant 1 : index
    %next = arith.addi %r, %one : index
    // expected-error @+1 {{expected an 'else', because nothing says that index 0}}
    %element = nsa.read %a[%next] : tensor<?xi32>
    nsa.yield %element : i32
  }
}

// -----

// What is known to be inside: sums have an element more than their source.
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, in %b : tensor<4xi32>) {
  %sums = nsa.scan %a : tensor<?xi32> -> tensor<?xi32>
  %x = nsa.map(%r) in (%n) : tensor<?xi32> {
    %one = arith.constant 1 : index
    %next = arith.addi %r, %one : index
    %element = nsa.read %sums[%next] : tensor<?xi32>
    %three = arith.constant 3 : index
    %other = nsa.read %b[%three] : tensor<4xi32>
    %sum = arith.addi %element, %other : i32
    %total = nsa.read %sums[%n] : tensor<?xi32>
    %both = arith.addi %sum, %total : i32
    nsa.yield %both : i32
  }
}

// -----

// ReadOp C3: a size that is no less
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>) {
  %x = nsa.map(%r) in (%n) : tensor<?xi32> {
    // expected-error @+1 {{expected an 'else', because nothing says that index 0}}
    %element = nsa.read %a[%n] : tensor<?xi32>
    nsa.yield %element : i32
  }
}

// -----

// SearchOp C1
nsa.step @step(in %n : index, in %a : tensor<?x?xi32>) {
  %x = nsa.map(%r) in (%n) : tensor<?xi32> {
    // expected-error @+1 {{expected a row of the table to search in}}
    %place = nsa.search %a for %r : tensor<?x?xi32>
    %id = arith.index_cast %place : index to i32
    nsa.yield %id : i32
  }
}

// -----

// SearchOp C1: a row of no table
nsa.step @step(in %n : index, in %a : tensor<?xi32>) {
  %x = nsa.map(%r) in (%n) : tensor<?xi32> {
    // expected-error @+1 {{expected no row of an array of one dimension}}
    %place = nsa.search %a[%r] for %r : tensor<?xi32>
    %id = arith.index_cast %place : index to i32
    nsa.yield %id : i32
  }
}

// -----

// ReadOp: outside of a formula
nsa.step @step(in %n : index, in %a : tensor<4xi32>) {
  // expected-error @+1 {{expects parent op to be one of 'nsa.map, nsa.iterate'}}
  %x = nsa.read %a[%n] : tensor<4xi32>
}

// -----

// ReadOp: no array
nsa.step @step(in %n : index) {
  %x = nsa.map(%r) in (%n) : tensor<?xi32> {
    // expected-error @+1 {{expected the type of an array, such as tensor<?xi32>}}
    %y = nsa.read %n[%r] : index
    nsa.yield %y : i32
  }
}

// -----

// MapOp: no yield
nsa.step @step(in %n : index) {
  %x = nsa.map(%r) in (%n) : tensor<?xi32> {
    // expected-error @+1 {{block with no terminator}}
    %zero = arith.constant 0 : i32
  }
}

// -----

// ScanOp: sizes
nsa.step @step(in %n : index, in %a : tensor<4xi32>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{inferred type(s) 'tensor<5xi32>' are incompatible with return type(s) of operation 'tensor<4xi32>'}}
  %x = nsa.scan %a : tensor<4xi32> -> tensor<4xi32>
}

// -----

// ReduceOp: sizes
nsa.step @step(in %n : index, in %a : tensor<4x8xi32>) {
  // expected-error @+2 {{failed to infer returned types}}
  // expected-error @+1 {{inferred type(s) 'tensor<4xi32>' are incompatible with return type(s) of operation 'tensor<8xi32>'}}
  %x = nsa.reduce add %a : tensor<4x8xi32> -> tensor<8xi32>
}

// -----

// IterateOp C1
nsa.step @step() {
  // expected-error @+1 {{expected 1 size but got 2}}
  %x = nsa.iterate(%i, %x) in (4, 4) from 0 : tensor<5xi32> {
    nsa.yield %x : i32
  }
}

// -----

// IterateOp C1: a negative size
nsa.step @step() {
  // expected-error @+1 {{expected sizes from 0 to 2147483647, but got -4}}
  %x = nsa.iterate(%i, %x) in (-4) from 0 : tensor<?xi32> {
    nsa.yield %x : i32
  }
}

// -----

// IterateOp C2
nsa.step @step(in %n : index) {
  // expected-error @+1 {{expected a body with an 'index' and an element of type 'i32' as arguments}}
  %x = nsa.iterate(%i) in (%n) from 0 : tensor<?xi32> {
    %zero = arith.constant 0 : i32
    nsa.yield %zero : i32
  }
}

// -----

// IterateOp C3: an element more than there are steps
nsa.step @step() {
  // expected-error @+1 {{expected a result of type 'tensor<5xi32>' but got 'tensor<4xi32>'}}
  %x = nsa.iterate(%i, %x) in (4) from 0 : tensor<4xi32> {
    nsa.yield %x : i32
  }
}

// -----

// IterateOp C4
nsa.step @step(in %n : index) {
  %x = nsa.iterate(%i, %x) in (%n) from 0 : tensor<?xi32> {
    // expected-error @+1 {{expected no flag}}
    %next = arith.addi %x, %x overflow<nuw> : i32
    nsa.yield %next : i32
  }
}

// -----

// ReadOp: the last element of a recurrence is after its steps
nsa.step @step(in %n : index) {
  %x = nsa.iterate(%i, %x) in (%n) from 7 : tensor<?xi32> {
    %one = arith.constant 1 : i32
    %next = arith.addi %x, %one : i32
    nsa.yield %next : i32
  }
  %y = nsa.map(%r) in (%n) : tensor<?xi32> {
    %one = arith.constant 1 : index
    %two = arith.constant 2 : index
    %next = arith.addi %r, %one : index
    %end = nsa.read %x[%next] : tensor<?xi32>
    %after = arith.addi %r, %two : index
    // expected-error @+1 {{expected an 'else', because nothing says that index 0}}
    %past = nsa.read %x[%after] : tensor<?xi32>
    %sum = arith.addi %end, %past : i32
    nsa.yield %sum : i32
  }
}

// -----

// MapOp C1: a size that is too large
nsa.step @step() {
  // expected-error @+1 {{expected sizes from 0 to 2147483647, but got 2147483648}}
  %x = nsa.map(%r) in (2147483648) : tensor<2147483648xi32> {
    %zero = arith.constant 0 : i32
    nsa.yield %zero : i32
  }
}

// -----

// MapOp C6
nsa.step @packed(in %n : index, out %a : memref<?xi32>) {
  // expected-error @+1 {{expected two sizes of what is 'packed'}}
  %t = nsa.map(%r) in (%n) : tensor<?xi32> attributes {packed} {
    %x = arith.index_cast %r : index to i32
    nsa.yield %x : i32
  }
  nsa.copy %t to %a : tensor<?xi32> to memref<?xi32>
}

// -----

// A copy in a formula, of what is made from itself, is not looked into.
nsa.step @step(in %n : index, in %v[%n] : tensor<?xi32>, in %m[%n] : tensor<?xi8>, out %a : memref<?xi32>) {
  %value = nsa.map(%r) in (%n) : tensor<?xi32> {
    %x = nsa.read %v[%r] : tensor<?xi32>
    // expected-error @+1 {{expected a formula of 'nsa.read', 'nsa.search' and the operations of 'arith' that 'nsa.map' lists}}
    nsa.copy %value when %m to %a : tensor<?xi32> when tensor<?xi8> to memref<?xi32>
    nsa.yield %x : i32
  }
}
