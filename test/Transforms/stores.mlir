// Copies with conditions, places and destinations that may be missing, through
// the passes.

// RUN: nsa-opt %s --split-input-file --nsa-merge-copies | FileCheck %s --check-prefix=MERGE
// RUN: nsa-opt %s --split-input-file --nsa-merge-copies --nsa-form-launches=per-copy --cse --nsa-fuse-launches | FileCheck %s --check-prefix=FUSE
// RUN: nsa-opt %s --split-input-file --nsa-walk-sums | FileCheck %s --check-prefix=WALK

// What stores the same to the same places is one copy; the plain copy of the
// value is another, and so is one with another condition.
// MERGE-LABEL: nsa.step @merged
// MERGE-NEXT: nsa.copy %v when %m at [%p] to %a, %c
// MERGE-NEXT: nsa.copy %v to %b
// MERGE-NEXT: nsa.copy %v when %m2 at [%p] to %d
// FUSE-LABEL: nsa.step @merged
// FUSE-SAME: port_values = array<i64: -1, -1, -1, -1, -1, 0, 1, 0, 2>
// FUSE: nsa.launch @merged {
// FUSE-COUNT-1: nsa.segment tile
// FUSE: nsa.copy %v when %m at [%p] to %a, %c
// FUSE: nsa.copy %v to %b
// FUSE: nsa.copy %v when %m2 at [%p] to %d
nsa.step @merged(in %n : index, in %v[%n] : tensor<?xi32>, in %m[%n] : tensor<?xi8>,
                 in %m2[%n] : tensor<?xi8>, in %p[%n] : tensor<?xi64>,
                 out %a : memref<?xi32>, out %b : memref<?xi32>,
                 out %c : memref<?xi32>, out %d : memref<?xi32>) {
  nsa.copy %v when %m at [%p] to %a : tensor<?xi32> when tensor<?xi8> at tensor<?xi64> to memref<?xi32>
  nsa.copy %v to %b : tensor<?xi32> to memref<?xi32>
  nsa.copy %v when %m at [%p] to %c : tensor<?xi32> when tensor<?xi8> at tensor<?xi64> to memref<?xi32>
  nsa.copy %v when %m2 at [%p] to %d : tensor<?xi32> when tensor<?xi8> at tensor<?xi64> to memref<?xi32>
}

// -----

// A walk over rows stores each at its own: what goes elsewhere is no part of it.
// FUSE-LABEL: nsa.step @apart
// FUSE: nsa.segment scan(%n)
// FUSE-NOT: at [
// FUSE: nsa.segment tile(%n)
// FUSE: nsa.copy %v at [%p] to %a
nsa.step @apart(in %n : index, in %v[%n] : tensor<?xi32>, in %p[%n] : tensor<?xi64>,
                out %cu : memref<?xi32>, out %a : memref<?xi32>) {
  %sums = nsa.cu_seqlens %v : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %sums to %cu : tensor<?xi32> to memref<?xi32>
  nsa.copy %v at [%p] to %a : tensor<?xi32> at tensor<?xi64> to memref<?xi32>
}

// -----

// Sums that are places, or stored to places, are not walked.
// WALK-LABEL: nsa.step @sums
// WALK: %[[WALKED:.*]] = nsa.cu_seqlens
// WALK: nsa.copy %[[WALKED]] to %plain
// WALK: nsa.copy %{{.*}} at [%{{.*}}] to %places
nsa.step @sums(in %n : index, in %v[%n] : tensor<?xi32>, in %w[%n + 1] : tensor<?xi32>,
               out %plain : memref<?xi32>, out %places : memref<?xi32>) {
  %sums = nsa.scan %v : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %sums to %plain : tensor<?xi32> to memref<?xi32>
  nsa.copy %w at [%sums] to %places : tensor<?xi32> at tensor<?xi32> to memref<?xi32>
}
