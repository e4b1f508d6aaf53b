// Ports and values that nothing uses. (`out` ports that nothing writes are
// errors.)

// RUN: nsa-opt %s --verify-diagnostics --pass-pipeline='builtin.module(nsa.step(nsa-warn-unused))'

// expected-warning @+2 {{nothing uses port 'm'}}
// expected-warning @+2 {{nothing uses port 'b'}}
nsa.step @unused(in %n : index, in %m : index, in %a[%n] : tensor<?xi32>,
                 in %b[%n] : tensor<?xi32>, out %x : memref<?xi32>) {
  // expected-warning @+1 {{nothing uses this value}}
  %len = nsa.clip_seqlens %a to 4 : tensor<?xi32>
  nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
}

// What launches use is used.
nsa.step @used(in %n : index, in %a[%n] : tensor<?xi32>, out %x : memref<?xi32>) {
  nsa.launch @used {
    nsa.segment tile(%n) {
      nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
    }
  }
}
