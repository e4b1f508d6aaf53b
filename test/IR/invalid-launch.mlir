// Launches and segments that are refused, each under the number of the
// constraint that it breaks.

// RUN: nsa-opt %s --verify-diagnostics --split-input-file

// LaunchOp C1: segments only
nsa.step @step(in %a : tensor<?xi32>, out %x : memref<?xi32>) {
  // expected-error @+1 {{expected its body to hold segments only, but got 'nsa.copy'}}
  nsa.launch @launch {
    nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
  }
}

// -----

// LaunchOp: in a step
func.func @step() {
  // expected-error @+1 {{'nsa.launch' op expects parent op 'nsa.step'}}
  nsa.launch @launch {
  }
  return
}

// -----

// SegmentOp: in a launch
nsa.step @step(in %n : index) {
  // expected-error @+1 {{'nsa.segment' op expects parent op 'nsa.launch'}}
  nsa.segment tile(%n) {
  }
}

// -----

// SegmentOp C1: a scan has one dimension
nsa.step @step(in %n : index) {
  nsa.launch @launch {
    // expected-error @+1 {{expected 1 size but got 2}}
    nsa.segment scan(%n, %n) {
    }
  }
}

// -----

// SegmentOp C1: a tile has one dimension or two
nsa.step @step(in %n : index) {
  nsa.launch @launch {
    // expected-error @+1 {{expected 1 or 2 sizes but got 3}}
    nsa.segment tile(%n, %n, %n) {
    }
  }
}

// -----

// SegmentOp C1: no size
nsa.step @step(in %n : index) {
  nsa.launch @launch {
    // expected-error @+1 {{expected 1 or 2 sizes but got 0}}
    nsa.segment tile() {
    }
  }
}

// -----

// SegmentOp C2: effects by copies only
nsa.step @step(in %n : index, out %x : memref<?xi32>) {
  %zero = arith.constant 0 : i32
  nsa.launch @launch {
    // expected-error @+1 {{expected its body to hold copies, nsa values and sizes only, but got 'memref.store'}}
    nsa.segment tile(%n) {
      memref.store %zero, %x[%n] : memref<?xi32>
    }
  }
}

// -----

// SegmentOp C2: values of this dialect only
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, out %x : memref<?xi32>) {
  nsa.launch @launch {
    // expected-error @+1 {{expected its body to hold copies, nsa values and sizes only, but got 'arith.addi'}}
    nsa.segment tile(%n) {
      %sum = arith.addi %a, %a : tensor<?xi32>
      nsa.copy %sum to %x : tensor<?xi32> to memref<?xi32>
    }
  }
}
