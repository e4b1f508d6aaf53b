// Copies of two elements to one place, where formulas show it.

// RUN: nsa-opt %s --split-input-file --verify-diagnostics --pass-pipeline='builtin.module(nsa.step(nsa-check-places))'

nsa.step @constant(in %n : index, in %v[%n] : tensor<?xi32>, out %a : memref<?xi32>) {
  %p = nsa.map(%r) in (%n) : tensor<?xi64> {
    %c3 = arith.constant 3 : i64
    nsa.yield %c3 : i64
  }
  // expected-error@+1 {{stores two elements to one place: where they go does not depend on their index; compute the places from it, or say with 'when' which element is meant}}
  nsa.copy %v at [%p] to %a : tensor<?xi32> at tensor<?xi64> to memref<?xi32>
}

// -----

// One for each row, whatever the column.
nsa.step @columns(in %v : tensor<?x4xi32>, in %q : tensor<?xi64>,
                  out %a : memref<?xi32>) {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %v, %c0 : tensor<?x4xi32>
  %p = nsa.map(%r, %c) in (%n, 4) : tensor<?x4xi64> {
    %z = arith.constant 0 : i64
    %x = nsa.read %q[%r] else %z : tensor<?xi64>
    nsa.yield %x : i64
  }
  // expected-error@+1 {{does not depend on their column}}
  nsa.copy %v at [%p] to %a : tensor<?x4xi32> at tensor<?x4xi64> to memref<?xi32>
}

// -----

nsa.step @rows(in %v : tensor<?x4xi32>, out %a : memref<?x?xi32>) {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %v, %c0 : tensor<?x4xi32>
  %p = nsa.map(%r, %c) in (%n, 4) : tensor<?x4xi64> {
    %x = arith.index_cast %c : index to i64
    nsa.yield %x : i64
  }
  %q = nsa.map(%r, %c) in (%n, 4) : tensor<?x4xi64> {
    %c2 = arith.constant 2 : index
    %y = arith.muli %c, %c2 : index
    %x = arith.index_cast %y : index to i64
    nsa.yield %x : i64
  }
  // expected-error@+1 {{does not depend on their row}}
  nsa.copy %v at [%p, %q] to %a
      : tensor<?x4xi32> at tensor<?x4xi64>, tensor<?x4xi64> to memref<?x?xi32>
}

// -----

// A condition that is the same in all rows keeps none apart.
nsa.step @condition(in %n : index, in %v[%n] : tensor<?xi32>, in %flags : tensor<1xi8>,
                    out %a : memref<?xi32>) {
  %p = nsa.map(%r) in (%n) : tensor<?xi64> {
    %c0 = arith.constant 0 : i64
    nsa.yield %c0 : i64
  }
  %m = nsa.map(%r) in (%n) : tensor<?xi8> {
    %c0 = arith.constant 0 : index
    %x = nsa.read %flags[%c0] : tensor<1xi8>
    nsa.yield %x : i8
  }
  // expected-error@+1 {{does not depend on their index}}
  nsa.copy %v when %m at [%p] to %a : tensor<?xi32> when tensor<?xi8> at tensor<?xi64> to memref<?xi32>
}

// -----

// What may be apart: by one of two places, by the condition, by contents.
nsa.step @apart(in %m : index, in %v : tensor<?x4xi32>, in %w[%m] : tensor<?xi32>,
                in %keep[%m] : tensor<?xi8>, in %q[%m] : tensor<?xi64>,
                out %a : memref<?x?xi32>, out %b : memref<?xi32>, out %c : memref<?xi32>) {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %v, %c0 : tensor<?x4xi32>
  %row = nsa.map(%r, %k) in (%n, 4) : tensor<?x4xi64> {
    %x = arith.index_cast %r : index to i64
    nsa.yield %x : i64
  }
  %column = nsa.map(%r, %k) in (%n, 4) : tensor<?x4xi64> {
    %z = arith.constant 0 : i64
    %x = nsa.read %q[%k] else %z : tensor<?xi64>
    nsa.yield %x : i64
  }
  nsa.copy %v at [%row, %column] to %a
      : tensor<?x4xi32> at tensor<?x4xi64>, tensor<?x4xi64> to memref<?x?xi32>
  %zero = nsa.map(%r) in (%m) : tensor<?xi64> {
    %z = arith.constant 0 : i64
    nsa.yield %z : i64
  }
  nsa.copy %w when %keep at [%zero] to %b
      : tensor<?xi32> when tensor<?xi8> at tensor<?xi64> to memref<?xi32>
  nsa.copy %w at [%q] to %c : tensor<?xi32> at tensor<?xi64> to memref<?xi32>
}

// -----

// One element, and none.
nsa.step @one(in %v : tensor<1xi32>, in %w : tensor<0xi32>, out %a : memref<?xi32>,
              out %b : memref<?xi32>) {
  %p = nsa.map(%r) in (1) : tensor<1xi64> {
    %c3 = arith.constant 3 : i64
    nsa.yield %c3 : i64
  }
  %q = nsa.map(%r) in (0) : tensor<0xi64> {
    %c3 = arith.constant 3 : i64
    nsa.yield %c3 : i64
  }
  nsa.copy %v at [%p] to %a : tensor<1xi32> at tensor<1xi64> to memref<?xi32>
  nsa.copy %w at [%q] to %b : tensor<0xi32> at tensor<0xi64> to memref<?xi32>
}
