// How segments are cut, and in which order their blocks start.

// RUN: nsa-opt %s --split-input-file --nsa-form-launches=per-copy --cse --nsa-fuse-launches --nsa-assign-tiles | FileCheck %s

// Sums first; a contiguous vector moves 16 bytes a thread; rows of unknown
// length are cut.
// CHECK-LABEL: nsa.launch @order
// CHECK: nsa.segment scan(%n) {
// CHECK: nsa.segment tile(%n, %m) tiling <tile, rows = 1, columns = 512, width = 4, vectors = 1> {
nsa.step @order(in %n : index, in %m : index, in %t[%n, %m] : tensor<?x?xi32>,
                in %lens[%n] : tensor<?xi32>,
                out %a : memref<?x?xi32, strided<[?, 1]>>, out %cu : memref<?xi32>) {
  nsa.copy %t to %a : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
  %sums = nsa.cu_seqlens %lens : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %sums to %cu : tensor<?xi32> to memref<?xi32>
}

// -----

// Vectors: wide where one is contiguous, an element a thread where none is.
// CHECK-LABEL: nsa.launch @vectors
// CHECK: nsa.segment tile(%n) tiling <tile, rows = 1, columns = 512, width = 4, vectors = 1> {
// CHECK-LABEL: nsa.launch @strided
// CHECK: nsa.segment tile(%n) tiling <tile, rows = 1, columns = 128, width = 1, vectors = 1> {
nsa.step @vectors(in %n : index, in %v[%n] : tensor<?xi32>, out %a : memref<?xi32>,
                  out %b : memref<?xi32, strided<[?]>>) {
  nsa.copy %v to %a, %b : tensor<?xi32> to memref<?xi32>, memref<?xi32, strided<[?]>>
}
nsa.step @strided(in %n : index, in %v[%n] : tensor<?xi32>, out %b : memref<?xi32, strided<[?]>>) {
  nsa.copy %v to %b : tensor<?xi32> to memref<?xi32, strided<[?]>>
}

// -----

// Short rows share a tile; rows that end early have blocks across.
// CHECK-LABEL: nsa.launch @brief
// CHECK: tiling <tile, rows = 21, columns = 24, width = 4, vectors = 1> {
// CHECK-LABEL: nsa.launch @live
// CHECK: tiling <tile, rows = 1, columns = 512, width = 4, vectors = 1, across = true> {
nsa.step @brief(in %n : index, in %t[%n, ?] : tensor<?x24xi32>, out %a : memref<?x?xi32, strided<[?, 1]>>) {
  nsa.copy %t to %a : tensor<?x24xi32> to memref<?x?xi32, strided<[?, 1]>>
}
nsa.step @live(in %n : index, in %m : index, in %pool[%n] : tensor<?xi64>, in %tokens : tensor<?x?xi32>,
               in %lens[%n] : tensor<?xi32>, out %a : memref<?x?xi32, strided<[?, 1]>>) {
  %t = nsa.page_table %tokens[%pool] columns %m live %lens : tensor<?xi32> : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x?xi32>
  nsa.copy %t to %a : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
}

// -----

// Elements that go to places of their own: of few columns each has a thread;
// more are computed as vectors, and those that are stored as vectors, too.
// CHECK-LABEL: nsa.launch @few_places
// CHECK: tiling <tile, rows = 16, columns = 8, width = 1, vectors = 1> {
// CHECK-LABEL: nsa.launch @more_places
// CHECK: tiling <tile, rows = 42, columns = 12, width = 4, vectors = 1> {
// CHECK-LABEL: nsa.launch @places_and_rows
// CHECK: tiling <tile, rows = 64, columns = 8, width = 4, vectors = 1> {
// CHECK-NEXT: nsa.copy %{{.*}} at [
// CHECK-NEXT: nsa.copy %{{.*}} to
nsa.step @few_places(in %n : index, in %t[%n, ?] : tensor<?x8xi32>, in %p[%n, ?] : tensor<?x8xi64>,
                     out %a : memref<?xi32>) {
  nsa.copy %t at [%p] to %a : tensor<?x8xi32> at tensor<?x8xi64> to memref<?xi32>
}
nsa.step @more_places(in %n : index, in %t[%n, ?] : tensor<?x9xi32>, in %p[%n, ?] : tensor<?x9xi64>,
                      out %a : memref<?xi32>) {
  nsa.copy %t at [%p] to %a : tensor<?x9xi32> at tensor<?x9xi64> to memref<?xi32>
}
nsa.step @places_and_rows(in %n : index, in %t[%n, ?] : tensor<?x8xi32>, in %p[%n, ?] : tensor<?x8xi64>,
                          out %a : memref<?xi32>, out %b : memref<?x?xi32, strided<[?, 1]>>) {
  nsa.copy %t at [%p] to %a : tensor<?x8xi32> at tensor<?x8xi64> to memref<?xi32>
  nsa.copy %t to %b : tensor<?x8xi32> to memref<?x?xi32, strided<[?, 1]>>
}

// -----

// What the threads of a block compute together has a block for each row.
// CHECK-LABEL: nsa.launch @shared
// CHECK: nsa.segment tile(%n, %m) tiling <block, rows = 1, columns = 0, width = 4, vectors = 1> {
// CHECK-LABEL: nsa.launch @reduced
// CHECK: nsa.segment tile(%n) tiling <block, rows = 1, columns = 0, width = 1, vectors = 1> {
nsa.step @shared(in %n : index, in %m : index, in %t[%n, %m] : tensor<?x?xi32>,
                 out %a : memref<?x?xi32, strided<[?, 1]>>) {
  %sums = nsa.scan inclusive %t : tensor<?x?xi32> -> tensor<?x?xi32>
  nsa.copy %sums to %a : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
}
nsa.step @reduced(in %n : index, in %m : index, in %t[%n, %m] : tensor<?x?xi32>, out %a : memref<?xi32>) {
  %sum = nsa.reduce add %t : tensor<?x?xi32> -> tensor<?xi32>
  nsa.copy %sum to %a : tensor<?xi32> to memref<?xi32>
}

// -----

// A tiling that the text states is kept: eight vectors a thread here.
// CHECK-LABEL: nsa.launch @stated
// CHECK: nsa.segment tile(%n, %m) tiling <tile, rows = 1, columns = 4096, width = 4, vectors = 8> {
nsa.step @stated(in %n : index, in %m : index, in %t[%n, %m] : tensor<?x?xi32>, out %a : memref<?x?xi32, strided<[?, 1]>>) {
  nsa.launch @stated {
    nsa.segment tile(%n, %m) tiling <tile, rows = 1, columns = 4096, width = 4, vectors = 8> {
      nsa.copy %t to %a : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
    }
  }
}

// -----

// Rows that are said to be short share tiles, also where a size may be
// negative. What a block reduces comes first.
// CHECK-LABEL: nsa.launch @packed
// CHECK: nsa.segment tile(%n) tiling <block, rows = 1, columns = 0, width = 1, vectors = 1> {
// CHECK: nsa.segment tile(%n, %m) tiling <tile, rows = 8, columns = 256, width = 4, vectors = 1, packed = true> {
// CHECK: nsa.segment tile(%n, {{.*}}) tiling <tile, rows = 8, columns = 256, width = 4, vectors = 1, packed = true> {
nsa.step @packed(in %n : index, in %m : index, out %a : memref<?x?xi32, strided<[?, 1]>>,
                 out %b : memref<?x?xi32, strided<[?, 1]>>, out %c : memref<?xi32>) {
  %t = nsa.map(%r, %c0) in (%n, %m) : tensor<?x?xi32> attributes {packed} {
    %x = arith.index_cast %c0 : index to i32
    nsa.yield %x : i32
  }
  nsa.copy %t to %a : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
  %less = affine.apply affine_map<()[s0] -> (s0 - 3)>()[%m]
  %u = nsa.map(%r, %c0) in (%n, %less) : tensor<?x?xi32> attributes {packed} {
    %x = arith.index_cast %c0 : index to i32
    nsa.yield %x : i32
  }
  nsa.copy %u to %b : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
  %sums = nsa.reduce add %t : tensor<?x?xi32> -> tensor<?xi32>
  nsa.copy %sums to %c : tensor<?xi32> to memref<?xi32>
}

// -----

// A longer row of known length has a warp, which takes up to eight vectors of
// it one after the other.
// CHECK-LABEL: nsa.launch @long_packed
// CHECK: nsa.segment tile(%n, {{.*}}) tiling <tile, rows = 4, columns = 1024, width = 4, vectors = 1, packed = true> {
nsa.step @long_packed(in %n : index, out %a : memref<?x?xi32, strided<[?, 1]>>) {
  %t = nsa.map(%r, %c0) in (%n, 2048) : tensor<?x2048xi32> attributes {packed} {
    %x = arith.index_cast %c0 : index to i32
    nsa.yield %x : i32
  }
  nsa.copy %t to %a : tensor<?x2048xi32> to memref<?x?xi32, strided<[?, 1]>>
}

// -----

// Sums along rows: four times as many threads.
// CHECK-LABEL: nsa.launch @row_sums threads(512)
// CHECK: nsa.segment tile(%n, {{.*}}) tiling <block, rows = 1, columns = 0, width = 4, vectors = 1> {
nsa.step @row_sums(in %n : index, in %m : index, in %t[%n, %m] : tensor<?x?xi32>,
                   out %a : memref<?x?xi32, strided<[?, 1]>>) {
  %flags = nsa.map(%r, %c) in (%n, %m) : tensor<?x?xi32> {
    %x = nsa.read %t[%r, %c] : tensor<?x?xi32>
    nsa.yield %x : i32
  }
  %sums = nsa.scan %flags : tensor<?x?xi32> -> tensor<?x?xi32>
  nsa.copy %sums to %a : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
}

// -----

// Elements that are read through others: twice the threads, and half a vector
// each.
// CHECK-LABEL: nsa.launch @indirect threads(256)
// CHECK: nsa.segment tile(%n, {{.*}}) tiling <tile, rows = 1, columns = 512, width = 2, vectors = 1> {
nsa.step @indirect(in %n : index, in %places[%n, ?] : tensor<?x2048xi32>,
                   in %table : tensor<?xi32>, out %a : memref<?x?xi32, strided<[?, 1]>>) {
  %t = nsa.map(%r, %c) in (%n, 2048) : tensor<?x2048xi32> {
    %none = arith.constant -1 : i32
    %place = nsa.read %places[%r, %c] : tensor<?x2048xi32>
    %index = arith.index_cast %place : i32 to index
    %x = nsa.read %table[%index] else %none : tensor<?xi32>
    nsa.yield %x : i32
  }
  nsa.copy %t to %a : tensor<?x2048xi32> to memref<?x?xi32, strided<[?, 1]>>
}

// -----

// Not beside what is not: there blocks of the usual size are better.
// CHECK-LABEL: nsa.launch @indirect_and_plain threads(128)
// CHECK: tiling <tile, rows = 1, columns = 512, width = 4, vectors = 1>
// CHECK: tiling <tile, rows = 1, columns = 512, width = 4, vectors = 1>
nsa.step @indirect_and_plain(in %n : index, in %places[%n, ?] : tensor<?x2048xi32>,
                             in %table : tensor<?xi32>, out %a : memref<?x?xi32, strided<[?, 1]>>,
                             out %b : memref<?x?xi32, strided<[?, 1]>>) {
  %t = nsa.map(%r, %c) in (%n, 2048) : tensor<?x2048xi32> {
    %none = arith.constant -1 : i32
    %place = nsa.read %places[%r, %c] : tensor<?x2048xi32>
    %index = arith.index_cast %place : i32 to index
    %x = nsa.read %table[%index] else %none : tensor<?xi32>
    nsa.yield %x : i32
  }
  nsa.copy %t to %a : tensor<?x2048xi32> to memref<?x?xi32, strided<[?, 1]>>
  %u = nsa.map(%r, %c) in (%n, 1024) : tensor<?x1024xi32> {
    %x = arith.index_cast %c : index to i32
    nsa.yield %x : i32
  }
  nsa.copy %u to %b : tensor<?x1024xi32> to memref<?x?xi32, strided<[?, 1]>>
}
