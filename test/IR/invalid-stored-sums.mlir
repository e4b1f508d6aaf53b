// Sums that a launch before stores: what is refused.

// RUN: nsa-opt %s --split-input-file --verify-diagnostics

nsa.step @step(in %x : tensor<?x?xi64>, inout %w : memref<?xi64>, out %d : memref<?x?xi64>) {
  // ScanOp C1
  // expected-error @below {{expected stored sums to be of an array of one dimension, with elements like its own, but got 'memref<?xi64>' for 'tensor<?x?xi64>'}}
  %s = nsa.scan %x by %w : tensor<?x?xi64> by memref<?xi64> -> tensor<?x?xi64>
  nsa.copy %s to %d : tensor<?x?xi64> to memref<?x?xi64>
}

// -----

nsa.step @step(in %x : tensor<?xi64>, inout %w : memref<?xi32>, out %d : memref<?xi64>) {
  // ScanOp C1
  // expected-error @below {{expected stored sums to be of an array of one dimension}}
  %s = nsa.scan %x by %w : tensor<?xi64> by memref<?xi32> -> tensor<?xi64>
  nsa.copy %s to %d : tensor<?xi64> to memref<?xi64>
}

// -----

nsa.step @step(in %x : tensor<?xi64>, inout %w : memref<?xi64>, out %d : memref<?xi64>) {
  // StepOp C12: other contents
  // expected-error @below {{expected its stored sums to be an 'inout' port that an 'nsa.tile_sums' is copied to}}
  %s = nsa.scan %x by %w : tensor<?xi64> by memref<?xi64> -> tensor<?xi64>
  nsa.copy %x to %w : tensor<?xi64> to memref<?xi64>
  nsa.copy %s to %d : tensor<?xi64> to memref<?xi64>
}

// -----

// StepOp C12: blocks of one launch
nsa.step @step(in %n : index, in %x[%n] : tensor<?xi64>, inout %w : memref<?xi64>, out %d : memref<?xi64>) {
  %tiles = affine.apply affine_map<()[s0] -> (s0 ceildiv 32)>()[%n]
  %more = affine.apply affine_map<()[s0] -> (s0 + 1)>()[%n]
  nsa.launch @both {
    nsa.segment tile(%tiles) {
      %t = nsa.tile_sums %x : tensor<?xi64> -> tensor<?xi64>
      nsa.copy %t to %w : tensor<?xi64> to memref<?xi64>
    }
    nsa.segment tile(%more) {
      // expected-error @below {{expected the launch that stores its sums to come before, because blocks of one launch do not wait for one another}}
      %s = nsa.scan %x by %w : tensor<?xi64> by memref<?xi64> -> tensor<?xi64>
      nsa.copy %s to %d : tensor<?xi64> to memref<?xi64>
    }
  }
}

// -----

nsa.step @step(in %x : tensor<?xi64>, out %w : memref<?xi64>, out %d : memref<?xi64>) {
  %t = nsa.tile_sums %x : tensor<?xi64> -> tensor<?xi64>
  // StepOp C12: the manifest has to say that kernels read it
  // expected-error @below {{expected its stored sums to be an 'inout' port that an 'nsa.tile_sums' is copied to}}
  %s = nsa.scan %x by %w : tensor<?xi64> by memref<?xi64> -> tensor<?xi64>
  nsa.copy %t to %w : tensor<?xi64> to memref<?xi64>
  nsa.copy %s to %d : tensor<?xi64> to memref<?xi64>
}
