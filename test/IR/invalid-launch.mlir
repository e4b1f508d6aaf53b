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
    // expected-error @+1 {{expected its body to hold copies and nsa values only, but got 'memref.store'}}
    nsa.segment tile(%n) {
      memref.store %zero, %x[%n] : memref<?xi32>
    }
  }
}

// -----

// SegmentOp C2: values of this dialect only
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, out %x : memref<?xi32>) {
  nsa.launch @launch {
    // expected-error @+1 {{expected its body to hold copies and nsa values only, but got 'arith.addi'}}
    nsa.segment tile(%n) {
      %sum = arith.addi %a, %a : tensor<?xi32>
      nsa.copy %sum to %x : tensor<?xi32> to memref<?xi32>
    }
  }
}

// -----

// SegmentOp C2: values of the segment, not of the step
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, out %x : memref<?xi32>) {
  %len = nsa.clip_seqlens %a to 4 : tensor<?xi32>
  nsa.launch @launch {
    nsa.segment tile(%n) {
      // expected-error @+1 {{expected operand #0 to be a port or a value of the same segment}}
      nsa.copy %len to %x : tensor<?xi32> to memref<?xi32>
    }
  }
}

// -----

// SegmentOp C4: the segment is smaller or larger than its values
nsa.step @step(in %n : index, in %m : index, in %a[%n] : tensor<?xi32>, out %x : memref<?xi32>) {
  nsa.launch @launch {
    nsa.segment tile(%m) {
      // expected-error @+1 {{expected a value with the sizes of its segment}}
      nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
    }
  }
}

// -----

// SegmentOp C4: a walk over the sums instead of what is added up
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, out %x : memref<?xi32>) {
  %more = affine.apply affine_map<()[s0] -> (s0 + 1)>()[%n]
  nsa.launch @launch {
    nsa.segment scan(%more) {
      %cu = nsa.cu_seqlens %a : tensor<?xi32> -> tensor<?xi32>
      // expected-error @+1 {{expected a value with the sizes of its segment}}
      nsa.copy %cu to %x : tensor<?xi32> to memref<?xi32>
    }
  }
}

// -----

// SegmentOp C4: a sum in tiles
nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, out %x : memref<?xi32>) {
  nsa.launch @launch {
    nsa.segment tile(%n) {
      %cu = nsa.cu_seqlens %a : tensor<?xi32> -> tensor<?xi32>
      // expected-error @+1 {{expected a value for a 'tile' segment, but got one for a 'scan' segment}}
      nsa.copy %cu to %x : tensor<?xi32> to memref<?xi32>
    }
  }
}

// -----

// SegmentOp C4: nothing that is expanded
nsa.step @step(in %bs : index, in %a[%bs] : tensor<?xi32>, out %x : memref<?xi32>) {
  nsa.launch @launch {
    nsa.segment expand(%bs) {
      // expected-error @+1 {{expected a value for a 'expand' segment, but got one for a 'tile' segment}}
      nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
    }
  }
}

// -----

// SegmentOp C4: a table in a scan
nsa.step @step(in %n : index, in %t : tensor<?x?xi32>, out %x : memref<?x?xi32>) {
  nsa.launch @launch {
    nsa.segment scan(%n) {
      // expected-error @+1 {{expected a value for a 'scan' segment, but got one for a 'tile' segment}}
      nsa.copy %t to %x : tensor<?x?xi32> to memref<?x?xi32>
    }
  }
}

// -----

// SegmentOp C5: of nothing
nsa.step @step(in %bs : index) {
  nsa.launch @launch {
    // expected-error @+1 {{expected a copy, which says of which expansion}}
    nsa.segment expand(%bs) {
    }
  }
}

// -----

// SegmentOp C5: of two expansions
nsa.step @step(in %bs : index, in %a[%bs] : tensor<?xi32>, out %x : memref<?xi32>,
               out %y : memref<?xi32>) {
  nsa.launch @launch {
    nsa.segment expand(%bs) {
      %two = nsa.expansion by 2
      %three = nsa.expansion by 3
      %p = nsa.expand_seqlens causal %a over %two : tensor<?xi32> -> tensor<?xi32>
      %q = nsa.expand_seqlens causal %a over %three : tensor<?xi32> -> tensor<?xi32>
      nsa.copy %p to %x : tensor<?xi32> to memref<?xi32>
      // expected-error @+1 {{expected a value that is made from the same expansion}}
      nsa.copy %q to %y : tensor<?xi32> to memref<?xi32>
    }
  }
}

// -----

// LaunchOp C3
nsa.step @counts(in %n : index, in %a[%n] : tensor<?xi32>, out %x : memref<?xi32>) {
  // expected-error @+1 {{expected 'threads' to be a power of 2, at most 1024, but got 96}}
  nsa.launch @counts threads(96) {
    nsa.segment tile(%n) {
      nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
    }
  }
}
