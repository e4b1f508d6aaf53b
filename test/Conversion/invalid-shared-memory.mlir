// Sums of one segment that do not fit what a block shares, however small their tiles are.

// RUN: nsa-opt %s --nsa-assign-tiles --nsa-launch-to-gpu --verify-diagnostics

module attributes {nsa.target = #nsa.target<
  warp = 32, threads = 128, vectors = 1, access_bytes = 16,
  shared_bytes = 128, tile_bytes = 64, parameter_bytes = 4096,
  in_flight_bytes = 3000000, resident_threads = 200000>} {
  nsa.step @sums(in %n : index, in %m : index, in %x[%n] : tensor<?xi64>, in %y[%n] : tensor<?xi64>,
                 out %d : memref<?xi64>) {
    // expected-error @below {{expected sums and reductions that fit the 128 bytes that a block shares, but those of one segment take 192; write some of them in another step}}
    nsa.launch @sums {
      nsa.segment tile(%m) {
        %a = nsa.scan %x : tensor<?xi64> -> tensor<?xi64>
        %b = nsa.scan %y : tensor<?xi64> -> tensor<?xi64>
        %v = nsa.map(%r) in (%m) : tensor<?xi64> {
          %none = arith.constant 0 : i64
          %p = nsa.read %a[%r] else %none : tensor<?xi64>
          %q = nsa.read %b[%r] else %none : tensor<?xi64>
          %s = arith.addi %p, %q : i64
          nsa.yield %s : i64
        }
        nsa.copy %v to %d : tensor<?xi64> to memref<?xi64>
      }
    }
  }
}
