// Tilings that are refused: attributes under the number of their constraint,
// then what there is no code for.

// RUN: nsa-opt %s --split-input-file --verify-diagnostics --nsa-assign-tiles

// TilingAttr C1: no rows
// expected-error @+1 {{expected 'rows' from 1 to 1048576, 'vectors' from 1 to 64 and, for 'tile', 'columns' from 1 to 1048576, but got 0, 1 and 512}}
#t = #nsa.tiling<tile, rows = 0, columns = 512, width = 4, vectors = 1>

// -----

// TilingAttr C3: columns that leave a thread without its last vector
// expected-error @+1 {{expected a 'packed' tile to have 'columns' of whole vectors, as many for each of a thread's}}
#t = #nsa.tiling<tile, rows = 8, columns = 250, width = 4, vectors = 4, packed = true>

// -----

// TilingAttr C1: columns of whole rows
// expected-error @+1 {{for 'warp', 'columns' of 0, but got 4, 1 and 512}}
#t = #nsa.tiling<warp, rows = 4, columns = 512, width = 4, vectors = 1>

// -----

// TilingAttr C1: as many vectors as nobody wants written out
// expected-error @+1 {{'vectors' from 1 to 64 and, for 'tile', 'columns' from 1 to 1048576, but got 1, 65 and 33280}}
#t = #nsa.tiling<tile, rows = 1, columns = 33280, width = 4, vectors = 65>

// -----

// TilingAttr C1: rows whose product with columns leaves 64 bits
// expected-error @+1 {{but got 9223372036854775807, 1 and 512}}
#t = #nsa.tiling<tile, rows = 9223372036854775807, columns = 512, width = 4, vectors = 1>

// -----

// TilingAttr C2: width
// expected-error @+1 {{expected 'width' to be a power of 2, at most 16, but got 3}}
#t = #nsa.tiling<tile, rows = 1, columns = 384, width = 3, vectors = 1>

// -----

nsa.step @unit(in %n : index, in %m : index, in %t[%n, %m] : tensor<?x?xi32>, out %a : memref<?x?xi32, strided<[?, 1]>>) {
  nsa.launch @unit {
    // expected-error @+1 {{expected the tiling of a segment like this to be by 'tile' but got 'warp'}}
    nsa.segment tile(%n, %m) tiling <warp, rows = 4, columns = 0, width = 4, vectors = 1> {
      nsa.copy %t to %a : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
    }
  }
}

// -----

nsa.step @columns(in %n : index, in %m : index, in %t[%n, %m] : tensor<?x?xi32>, out %a : memref<?x?xi32, strided<[?, 1]>>) {
  nsa.launch @columns {
    // expected-error @+1 {{expected tiles of 512 columns, as 128 threads take 1 vectors of 4, but got 500}}
    nsa.segment tile(%n, %m) tiling <tile, rows = 1, columns = 500, width = 4, vectors = 1> {
      nsa.copy %t to %a : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
    }
  }
}

// -----

nsa.step @width(in %n : index, in %m : index, in %t[%n, %m] : tensor<?x?xi32>, out %a : memref<?x?xi32, strided<[?, 1]>>) {
  nsa.launch @width {
    // expected-error @+1 {{expected vectors of at most 4 elements here but got 8}}
    nsa.segment tile(%n, %m) tiling <tile, rows = 1, columns = 1024, width = 8, vectors = 1> {
      nsa.copy %t to %a : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
    }
  }
}

// -----

nsa.step @rows(in %n : index, in %m : index, in %t[%n, %m] : tensor<?x?xi32>, out %a : memref<?x?xi32, strided<[?, 1]>>) {
  nsa.launch @rows {
    // expected-error @+1 {{expected tiles of several rows to have all columns, whose number is a constant, in whole vectors, but got 512 columns}}
    nsa.segment tile(%n, %m) tiling <tile, rows = 2, columns = 512, width = 4, vectors = 2> {
      nsa.copy %t to %a : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
    }
  }
}

// -----

nsa.step @large(in %n : index, in %c24 : index, in %t[%n, ?] : tensor<?x24xi32>, out %a : memref<?x?xi32, strided<[?, 1]>>) {
  %columns = arith.constant 24 : index
  nsa.launch @large {
    // expected-error @+1 {{expected a tile of at most 512 elements, as 128 threads take 1 vectors of 4, but got 528}}
    nsa.segment tile(%n, %columns) tiling <tile, rows = 22, columns = 24, width = 4, vectors = 1> {
      nsa.copy %t to %a : tensor<?x24xi32> to memref<?x?xi32, strided<[?, 1]>>
    }
  }
}

// -----

nsa.step @pairs(in %n : index, in %m : index, in %t[%n, %m] : tensor<?x?xi32>, out %a : memref<?x?xi32, strided<[?, 1]>>) {
  nsa.launch @pairs {
    // expected-error @+1 {{expected pairs only of vectors that take two accesses, an even number of them in a row}}
    nsa.segment tile(%n, %m) tiling <tile, rows = 1, columns = 512, width = 4, vectors = 1, paired = true> {
      nsa.copy %t to %a : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
    }
  }
}

// -----

nsa.step @across(in %n : index, in %v[%n] : tensor<?xi32>, out %a : memref<?xi32>) {
  nsa.launch @across {
    // expected-error @+1 {{expected 'across' only for tiles of one row of a table}}
    nsa.segment tile(%n) tiling <tile, rows = 1, columns = 512, width = 4, vectors = 1, across = true> {
      nsa.copy %v to %a : tensor<?xi32> to memref<?xi32>
    }
  }
}

// -----

nsa.step @scan(in %n : index, in %v[%n] : tensor<?xi32>, out %a : memref<?xi32>) {
  nsa.launch @scan {
    // expected-error @+1 {{expected no tiling: one block walks all rows}}
    nsa.segment scan(%n) tiling <tile, rows = 1, columns = 512, width = 4, vectors = 1> {
      %sums = nsa.cu_seqlens %v : tensor<?xi32> -> tensor<?xi32>
      nsa.copy %sums to %a : tensor<?xi32> to memref<?xi32>
    }
  }
}

// -----

nsa.step @expand(in %n : index, in %v[%n] : tensor<?xi32>, in %e[%n] : tensor<?xi32>, in %bound : index, out %a : memref<?xi32>) {
  nsa.launch @expand {
    // expected-error @+1 {{expected tiles of 128 rows but got 64}}
    nsa.segment expand(%n) tiling <tile, rows = 64, columns = 1, width = 1, vectors = 1> {
      %rows = nsa.expansion by %e within %bound : tensor<?xi32>
      %lens = nsa.expand_seqlens causal %v over %rows : tensor<?xi32> -> tensor<?xi32>
      nsa.copy %lens to %a : tensor<?xi32> to memref<?xi32>
    }
  }
}

// -----

// TargetAttr C1: warps of 48
// expected-error @+1 {{expected powers of 2: 'threads' of at most 1024, 'warp' of at most 'threads' and 'access_bytes' of 8 or 16, but got 128, 48 and 16}}
#t = #nsa.target<warp = 48, threads = 128, vectors = 1, access_bytes = 16, shared_bytes = 49152, tile_bytes = 40960, parameter_bytes = 4352, in_flight_bytes = 3360000, resident_threads = 270336>

// -----

// TargetAttr C1: blocks of less than a warp
// expected-error @+1 {{but got 32, 64 and 16}}
#t = #nsa.target<warp = 64, threads = 32, vectors = 1, access_bytes = 16, shared_bytes = 49152, tile_bytes = 40960, parameter_bytes = 4352, in_flight_bytes = 3360000, resident_threads = 270336>

// -----

// TargetAttr C1: accesses that an element does not fit
// expected-error @+1 {{'access_bytes' of 8 or 16, but got 128, 32 and 4}}
#t = #nsa.target<warp = 32, threads = 128, vectors = 1, access_bytes = 4, shared_bytes = 49152, tile_bytes = 40960, parameter_bytes = 4352, in_flight_bytes = 3360000, resident_threads = 270336>

// -----

// TargetAttr C2: more vectors than a tiling has
// expected-error @+1 {{expected 'vectors' of at most 64 but got 65}}
#t = #nsa.target<warp = 32, threads = 128, vectors = 65, access_bytes = 16, shared_bytes = 49152, tile_bytes = 40960, parameter_bytes = 4352, in_flight_bytes = 3360000, resident_threads = 270336>

// -----

// TargetAttr C2: no parameters
// expected-error @+1 {{expected numbers from 1 to 2^31-1 but got 0}}
#t = #nsa.target<warp = 32, threads = 128, vectors = 1, access_bytes = 16, shared_bytes = 49152, tile_bytes = 40960, parameter_bytes = 0, in_flight_bytes = 3360000, resident_threads = 270336>

// -----

// TargetAttr C2: more for tiles than there is
// expected-error @+1 {{expected 'tile_bytes' of at most the 49152 of 'shared_bytes' but got 49153}}
#t = #nsa.target<warp = 32, threads = 128, vectors = 1, access_bytes = 16, shared_bytes = 49152, tile_bytes = 49153, parameter_bytes = 4352, in_flight_bytes = 3360000, resident_threads = 270336>

// -----

// expected-error @+1 {{expected 'nsa.target' to be a '#nsa.target' of a module}}
module attributes {nsa.target = "gfx90a"} {}

// -----

nsa.step @warp(in %n : index, in %a[%n] : tensor<?xi32>, out %x : memref<?xi32>) {
  // expected-error @+1 {{expected at least the 32 threads of a warp but got 16}}
  nsa.launch @warp threads(16) {
    nsa.segment tile(%n) {
      nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
    }
  }
}

// -----

// A turn of two vectors for each of 16 threads takes 128 columns.
nsa.step @turns(in %n : index, in %m : index, out %a : memref<?x?xi32, strided<[?, 1]>>) {
  nsa.launch @turns {
    // expected-error @+1 {{expected 'packed' tiles of as many threads a row, who take whole vectors in turns, but got 8 rows of 192 columns for 128 threads}}
    nsa.segment tile(%n, %m) tiling <tile, rows = 8, columns = 192, width = 4, vectors = 2, packed = true> {
      %t = nsa.map(%r, %c) in (%n, %m) : tensor<?x?xi32> attributes {packed} {
        %x = arith.index_cast %c : index to i32
        nsa.yield %x : i32
      }
      nsa.copy %t to %a : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
    }
  }
}

// -----

nsa.step @packed(in %n : index, in %m : index, in %t[%n, %m] : tensor<?x?xi32>,
                 out %a : memref<?x?xi32, strided<[?, 1]>>) {
  nsa.launch @packed {
    // expected-error @+1 {{expected 'packed' only for tables whose maps say so, without 'paired' and 'across'}}
    nsa.segment tile(%n, %m) tiling <tile, rows = 8, columns = 256, width = 4, vectors = 4, packed = true> {
      nsa.copy %t to %a : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
    }
  }
}
