// A pass that comes too early says which one it waits for.

// RUN: nsa-opt %s --split-input-file --verify-diagnostics --nsa-launch-to-gpu
// RUN: nsa-opt %s --split-input-file --verify-diagnostics --nsa-launch-to-loops

nsa.step @copies(in %n : index, in %a[%n] : tensor<?xi32>, out %x : memref<?xi32>) {
  // expected-error @+1 {{expected copies to be in launches; run 'nsa-form-launches' before}}
  nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
}

// -----

nsa.step @sets(in %bs : index, in %max_len : index,
               in %src[%bs, %max_len] : !nsa.metadata<decode>,
               out %b0 : !nsa.metadata_ref<decode>) {
  // expected-error @+1 {{expected sets to be expanded; run 'nsa-expand-metadata-sets' before}}
  nsa.copy_metadata %src to %b0 : !nsa.metadata<decode> to !nsa.metadata_ref<decode>
}

// -----

nsa.step @tilings(in %n : index, in %a[%n] : tensor<?xi32>, out %x : memref<?xi32>) {
  nsa.launch @tilings threads(128) {
    // expected-error @+1 {{expected a tiling; run 'nsa-assign-tiles' before}}
    nsa.segment tile(%n) {
      nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
    }
  }
}

// -----

nsa.step @counts(in %n : index, in %a[%n] : tensor<?xi32>, out %x : memref<?xi32>) {
  // expected-error @+1 {{expected a number of threads; run 'nsa-assign-tiles' before}}
  nsa.launch @counts {
    nsa.segment tile(%n) {
      nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
    }
  }
}
