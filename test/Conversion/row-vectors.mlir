// Rows that a block shares: where each thread has one vector of them, sums along
// a row stay with the threads, and what an element of each row is made from is
// made once, with the table's.

// RUN: nsa-opt %s --split-input-file --nsa-form-launches=per-copy --cse --nsa-fuse-launches --nsa-assign-tiles | FileCheck %s
// RUN: nsa-opt %s --split-input-file --nsa-form-launches=per-copy --cse --nsa-fuse-launches --nsa-assign-tiles --nsa-launch-to-gpu --canonicalize --cse | FileCheck %s --check-prefix=GPU
// RUN: nsa-opt %s --split-input-file --nsa-form-launches=per-copy --cse --nsa-fuse-launches --nsa-assign-tiles --nsa-launch-to-loops | FileCheck %s --check-prefix=HOST

// One segment, for as many columns as a block's vectors have.
// CHECK-LABEL: nsa.launch @compact threads(512)
// CHECK:       nsa.segment tile(%n, %c2048) tiling <block, rows = 1, columns = 0, width = 4, vectors = 1> {
// CHECK:         nsa.copy %{{.*}} at
// CHECK:         nsa.copy %{{.*}} to %counts
// CHECK-NOT:   nsa.segment

// One load of each element, one exchange, and no array of sums.
// GPU-LABEL: gpu.func @compact
// GPU-SAME:  workgroup(%{{[^ ]*}} : memref<2x1x16xi32, #gpu.address_space<workgroup>>
// GPU-NOT:   memref<2049xi32
// Nobody walks the row for what the exchange gives.
// GPU-NOT:   scf.for
// GPU-COUNT-1: vector.load
// GPU-NOT:   vector.load
// GPU-NOT:   scf.for
// GPU:       gpu.barrier
// GPU-NOT:   gpu.barrier
// Places that follow one another take one store, others one each.
// GPU:       vector.store %{{.*}} : memref<?x2048xi32>
// GPU:       } else {
// GPU-COUNT-4: memref.store %{{.*}} : memref<?x2048xi32>
// GPU:       arith.cmpi eq, %{{.*}}, %c0
// GPU:       memref.store %{{.*}} : memref<?xi32>
// GPU-NOT:   gpu.barrier

// HOST-LABEL: func.func @compact.compact
// HOST:       scf.for
// HOST:       memref.store %{{.*}} : memref<?xi32>
// HOST:       memref.store %{{.*}} : memref<?x2048xi32>
nsa.step @compact(in %n : index,
                  in %x[%n, ?] : tensor<?x2048xi32> {alignment = 16, layout = strided<[2048, 1]>},
                  out %out : memref<?x2048xi32> {alignment = 16}, out %counts : memref<?xi32>) {
  %good = nsa.map(%r, %c) in (%n, 2048) : tensor<?x2048xi32> {
    %zero = arith.constant 0 : i32
    %one = arith.constant 1 : i32
    %value = nsa.read %x[%r, %c] : tensor<?x2048xi32>
    %is = arith.cmpi sge, %value, %zero : i32
    %flag = arith.select %is, %one, %zero : i32
    nsa.yield %flag : i32
  }
  %sums = nsa.scan %good : tensor<?x2048xi32> -> tensor<?x2049xi32>
  %total = nsa.reduce add %good : tensor<?x2048xi32> -> tensor<?xi32>
  %values = nsa.map(%r, %c) in (%n, 2048) : tensor<?x2048xi32> {
    %value = nsa.read %x[%r, %c] : tensor<?x2048xi32>
    nsa.yield %value : i32
  }
  %rows = nsa.map(%r, %c) in (%n, 2048) : tensor<?x2048xi64> {
    %place = arith.index_cast %r : index to i64
    nsa.yield %place : i64
  }
  %places = nsa.map(%r, %c) in (%n, 2048) : tensor<?x2048xi64> {
    %zero = arith.constant 0 : i32
    %value = nsa.read %x[%r, %c] : tensor<?x2048xi32>
    %is = arith.cmpi sge, %value, %zero : i32
    %before = nsa.read %sums[%r, %c] : tensor<?x2049xi32>
    %all = nsa.read %total[%r] : tensor<?xi32>
    %column = arith.index_cast %c : index to i32
    %bad = arith.subi %column, %before : i32
    %behind = arith.addi %all, %bad : i32
    %at = arith.select %is, %before, %behind : i32
    %place = arith.extsi %at : i32 to i64
    nsa.yield %place : i64
  }
  %number = nsa.map(%r) in (%n) : tensor<?xi32> {
    %all = nsa.read %total[%r] : tensor<?xi32>
    nsa.yield %all : i32
  }
  nsa.copy %values at [%rows, %places] to %out : tensor<?x2048xi32> at tensor<?x2048xi64>, tensor<?x2048xi64> to memref<?x2048xi32>
  nsa.copy %number to %counts : tensor<?xi32> to memref<?xi32>
}

// -----

// Sums that are read elsewhere are an array of the block's.
// CHECK-LABEL: nsa.launch @elsewhere
// GPU-LABEL: gpu.func @elsewhere
// GPU-SAME:  memref<2049xi32, #gpu.address_space<workgroup>>
nsa.step @elsewhere(in %n : index, in %x[%n, ?] : tensor<?x64xi32>, out %out : memref<?x64xi32>) {
  %copy = nsa.map(%r, %c) in (%n, 64) : tensor<?x64xi32> {
    %value = nsa.read %x[%r, %c] : tensor<?x64xi32>
    nsa.yield %value : i32
  }
  %sums = nsa.scan inclusive %copy : tensor<?x64xi32> -> tensor<?x64xi32>
  %back = nsa.map(%r, %c) in (%n, 64) : tensor<?x64xi32> {
    %last = arith.constant 63 : index
    %zero = arith.constant 0 : i32
    %from = arith.subi %last, %c : index
    %value = nsa.read %sums[%r, %from] else %zero : tensor<?x64xi32>
    nsa.yield %value : i32
  }
  nsa.copy %back to %out : tensor<?x64xi32> to memref<?x64xi32>
}

// -----

// What elements of rows wait for, where the table's elements wait for the same:
// a block has a row then, and its threads a vector each.
// CHECK-LABEL: nsa.launch @gathered threads(128)
// CHECK:       nsa.segment tile(%n, %c512) tiling <block, rows = 1, columns = 0, width = 4, vectors = 1> {
// CHECK:         nsa.copy %{{.*}} to %out
// CHECK:         nsa.copy %{{.*}} to %counts
// CHECK-NOT:   nsa.segment
// What rests on arrays alone is loaded before the exchange, and the table, which
// waits for nobody, is stored before it.
// GPU-LABEL: gpu.func @gathered
// GPU:       memref.load %{{.*}} : memref<?xi8
// GPU:       vector.load
// GPU:       vector.store %{{.*}} : memref<?x512xi32>
// GPU:       gpu.subgroup_reduce add
// GPU:       gpu.barrier
// GPU-NOT:   memref.load %{{.*}} : memref<?xi8
// GPU:       memref.store %{{.*}} : memref<?xi32>
nsa.step @gathered(in %n : index,
                   in %x[%n, ?] : tensor<?x512xi32> {alignment = 16, layout = strided<[512, 1]>},
                   in %table : tensor<?xi32>, in %valid : tensor<?xi8>,
                   out %out : memref<?x512xi32> {alignment = 16}, out %counts : memref<?xi32>) {
  %slots = nsa.map(%r, %c) in (%n, 512) : tensor<?x512xi32> {
    %none = arith.constant -1 : i32
    %value = nsa.read %x[%r, %c] : tensor<?x512xi32>
    %at = arith.index_cast %value : i32 to index
    %slot = nsa.read %table[%at] else %none : tensor<?xi32>
    nsa.yield %slot : i32
  }
  %good = nsa.map(%r, %c) in (%n, 512) : tensor<?x512xi32> {
    %zero = arith.constant 0 : i32
    %one = arith.constant 1 : i32
    %value = nsa.read %slots[%r, %c] : tensor<?x512xi32>
    %is = arith.cmpi sge, %value, %zero : i32
    %flag = arith.select %is, %one, %zero : i32
    nsa.yield %flag : i32
  }
  %total = nsa.reduce add %good : tensor<?x512xi32> -> tensor<?xi32>
  %number = nsa.map(%r) in (%n) : tensor<?xi32> {
    %none = arith.constant 0 : i8
    %zero = arith.constant 0 : i32
    %flag = nsa.read %valid[%r] else %none : tensor<?xi8>
    %is = arith.cmpi ne, %flag, %none : i8
    %all = nsa.read %total[%r] : tensor<?xi32>
    %count = arith.select %is, %all, %zero : i32
    nsa.yield %count : i32
  }
  nsa.copy %slots to %out : tensor<?x512xi32> to memref<?x512xi32>
  nsa.copy %number to %counts : tensor<?xi32> to memref<?xi32>
}

// -----

// Elements that are at hand are read again instead, by blocks of their own: more
// blocks share the table.
// CHECK-LABEL: nsa.launch @at_hand
// CHECK-COUNT-2: nsa.segment tile
nsa.step @at_hand(in %n : index, in %x[%n, ?] : tensor<?x512xi32>,
                  out %out : memref<?x512xi32>, out %counts : memref<?xi32>) {
  %values = nsa.map(%r, %c) in (%n, 512) : tensor<?x512xi32> {
    %value = nsa.read %x[%r, %c] : tensor<?x512xi32>
    nsa.yield %value : i32
  }
  %total = nsa.reduce add %values : tensor<?x512xi32> -> tensor<?xi32>
  %number = nsa.map(%r) in (%n) : tensor<?xi32> {
    %all = nsa.read %total[%r] : tensor<?xi32>
    nsa.yield %all : i32
  }
  nsa.copy %values to %out : tensor<?x512xi32> to memref<?x512xi32>
  nsa.copy %number to %counts : tensor<?xi32> to memref<?xi32>
}

// -----

// A reduction that is stored as it is, is not made again.
// GPU-LABEL: gpu.func @stored
// GPU:       gpu.subgroup_reduce
// GPU-NOT:   scf.for
// GPU:       memref.store %{{.*}} : memref<?xi32>
nsa.step @stored(in %n : index, in %x[%n, ?] : tensor<?x512xi32>,
                 out %out : memref<?x512xi32>, out %counts : memref<?xi32>) {
  %twice = nsa.map(%r, %c) in (%n, 512) : tensor<?x512xi32> {
    %value = nsa.read %x[%r, %c] : tensor<?x512xi32>
    %sum = arith.addi %value, %value : i32
    nsa.yield %sum : i32
  }
  %total = nsa.reduce add %twice : tensor<?x512xi32> -> tensor<?xi32>
  nsa.copy %twice to %out : tensor<?x512xi32> to memref<?x512xi32>
  nsa.copy %total to %counts : tensor<?xi32> to memref<?xi32>
}
