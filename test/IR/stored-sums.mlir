// Sums that a launch before stores are printed as they are read.

// RUN: nsa-opt %s | nsa-opt | FileCheck %s

// CHECK: nsa.step @sums(in %n : index {expected = 100000 : i64}
// CHECK:   nsa.tile_sums %x : tensor<?xi64> -> tensor<?xi64>
// CHECK:   nsa.scan inclusive %x by %w : tensor<?xi64> by memref<?xi64> -> tensor<?xi64>
nsa.step @sums(in %n : index {expected = 100000}, in %x[%n] : tensor<?xi64>, inout %w : memref<?xi64>,
               out %d : memref<?xi64>) {
  %t = nsa.tile_sums %x : tensor<?xi64> -> tensor<?xi64>
  %s = nsa.scan inclusive %x by %w : tensor<?xi64> by memref<?xi64> -> tensor<?xi64>
  nsa.copy %t to %w : tensor<?xi64> to memref<?xi64>
  nsa.copy %s to %d : tensor<?xi64> to memref<?xi64>
}
