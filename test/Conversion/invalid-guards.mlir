// RUN: nsa-opt %s --nsa-assign-tiles --nsa-launch-to-gpu -split-input-file -verify-diagnostics
// RUN: nsa-opt %s --nsa-assign-tiles --nsa-launch-to-loops -split-input-file -verify-diagnostics

nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, out %x : memref<?xi32>)
    attributes {guards} {
  // expected-error @+1 {{'nsa.launch' op expected another name than 'nsa_guards', which is where guards record}}
  nsa.launch @nsa_guards {
    nsa.segment tile(%n) {
      nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
    }
  }
}

// -----

nsa.step @step(in %n : index, in %a[%n] : tensor<?xi32>, in %p[%n] : tensor<?xi64>,
               out %x : memref<?xi32>) attributes {guards} {
  // expected-error @+1 {{'nsa.launch' op expected another name than 'nsa_claims', which is where guards keep claims}}
  nsa.launch @nsa_claims {
    nsa.segment tile(%n) {
      nsa.copy %a at [%p] to %x : tensor<?xi32> at tensor<?xi64> to memref<?xi32>
    }
  }
}
