// RUN: nsa-opt %s --nsa-assign-tiles --nsa-launch-to-gpu --canonicalize --cse | FileCheck %s

// A tile is a block of 128 threads, four columns each. The arrays' rows are
// checked for alignment, the columns against the size. Where all arrays that
// are written are aligned, they are stored one after the other.
// CHECK-LABEL: gpu.module @tile {
// CHECK-NEXT:  gpu.func @kernel(
// CHECK-SAME:    %[[M:[a-z0-9]+]]: index,
// CHECK-SAME:    %[[A:[a-z0-9]+]]: memref<?x?xi32, strided<[?, 1]>> {nsa.readonly},
// CHECK-SAME:    %[[X:[a-z0-9]+]]: memref<?x?xi32, strided<[?, 1]>>, %[[Y:[a-z0-9]+]]: memref<?x?xi32>,
// The number of rows comes last: no block asks for it to find its own.
// CHECK-SAME:    %{{[a-z0-9]+}}: index)
// CHECK-SAME:    kernel attributes {known_block_size = array<i32: 128, 1, 1>, nsa.kernel} {
// CHECK-DAG:   %[[THREAD:.*]] = gpu.thread_id  x
// CHECK-DAG:   %[[BLOCK:.*]] = gpu.block_id  x
// CHECK:       %[[PADDED:.*]] = arith.addi %[[M]], %c511
// CHECK:       %[[TILES:.*]] = arith.divui %[[PADDED]], %c512
// CHECK:       arith.divui
// CHECK:       %[[OFFSET:.*]] = arith.muli %[[THREAD]], %c4
// CHECK:       %[[COLUMN:.*]] = arith.addi %{{.*}}, %[[OFFSET]]
// CHECK:       %[[VALUE:.*]] = scf.if %{{.*}} -> (vector<4xi32>) {
// CHECK-NEXT:    vector.load %[[A]][%[[ROW:.*]], %[[COLUMN]]] {alignment = 16 : i64}
// CHECK:       } else {
// CHECK-COUNT-4: memref.load %[[A]]
// CHECK-NOT:   load
// CHECK:       memref.extract_aligned_pointer_as_index %[[X]]
// CHECK:       memref.extract_aligned_pointer_as_index %[[Y]]
// CHECK:       %[[WIDE:.*]] = arith.andi %{{.*}}, %{{.*}} : i1
// CHECK-NEXT:  scf.if %[[WIDE]] {
// CHECK-NEXT:    vector.store %[[VALUE]], %[[X]][%[[ROW]], %[[COLUMN]]] {alignment = 16 : i64}
// CHECK-NEXT:    vector.store %[[VALUE]], %[[Y]][%[[ROW]], %[[COLUMN]]] {alignment = 16 : i64}
// CHECK-NEXT:  } else {
// CHECK:         vector.store %[[VALUE]], %[[X]][%[[ROW]], %[[COLUMN]]] {alignment = 16 : i64}
// CHECK-NEXT:  } else {
// CHECK-COUNT-4: memref.store %{{.*}}, %[[X]]
// CHECK:         vector.store %[[VALUE]], %[[Y]][%[[ROW]], %[[COLUMN]]] {alignment = 16 : i64}
// CHECK-NEXT:  } else {
// CHECK-COUNT-4: memref.store %{{.*}}, %[[Y]]
// CHECK:       gpu.return
nsa.step @tile(in %n : index, in %m : index, in %a[%n, %m] : tensor<?x?xi32>,
               out %x : memref<?x?xi32, strided<[?, 1]>>, out %y : memref<?x?xi32>) {
  nsa.launch @kernel {
    nsa.segment tile(%n, %m) {
      nsa.copy %a to %x, %y
          : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>, memref<?x?xi32>
    }
  }
}

// Without a constant inner stride there is no vector.
// CHECK-LABEL: gpu.module @strided {
// CHECK-NOT:   vector.load
// CHECK-NOT:   vector.store
// CHECK:       gpu.return
nsa.step @strided(in %n : index, in %a[%n] : tensor<?xi32>,
                  out %x : memref<?xi32, strided<[?]>>) {
  nsa.launch @kernel {
    nsa.segment tile(%n) {
      nsa.copy %a to %x : tensor<?xi32> to memref<?xi32, strided<[?]>>
    }
  }
}

// A table's row number comes from device memory: an element is loaded only from
// a row and a column that exist. The pages of a tile are few: its first threads
// take one each, whose token they load again, and store neighbours.
// CHECK-LABEL: gpu.module @gather {
// CHECK-NEXT:  gpu.func @kernel(
// CHECK-SAME:    %[[POOL:[a-z0-9]+]]: memref<?xi64, strided<[?]>> {nsa.readonly},
// CHECK-SAME:    %[[TOKENS:[a-z0-9]+]]: memref<?x?xi32, strided<[?, 1]>> {nsa.readonly, nsa.sizes = array<i64: 0, 1>},
// CHECK-SAME:    %[[X:[a-z0-9]+]]: memref<?x?xi32>, %[[Y:[a-z0-9]+]]: memref<?x?xi32>, %{{[a-z0-9]+}}: index)
// CHECK:       %[[LOADED:.*]] = memref.load %[[POOL]]
// CHECK:       %[[ROW:.*]] = arith.index_cast %[[LOADED]] : i64 to index
// CHECK:       %[[ROWS:.*]] = memref.dim %[[TOKENS]], %c0
// CHECK:       %[[IS_ROW:.*]] = arith.cmpi ult, %[[ROW]], %[[ROWS]]
// CHECK:       %[[COLUMNS:.*]] = memref.dim %[[TOKENS]], %c1
// CHECK:       %[[IS_INSIDE:.*]] = arith.cmpi slt, %{{.*}}, %[[COLUMNS]]
// CHECK:       %[[BOTH:.*]] = arith.andi %[[IS_ROW]], %[[IS_INSIDE]]
// CHECK:       %[[CAN_LOAD:.*]] = arith.andi %[[BOTH]],
// CHECK:       %[[VALUE:.*]] = scf.if %[[CAN_LOAD]] -> (vector<4xi32>) {
// CHECK-NEXT:    vector.load %[[TOKENS]][%[[ROW]],
// CHECK-COUNT-4: memref.load %[[TOKENS]]
// CHECK:       %[[NUMBER:.*]] = arith.addi %{{.*}}, %thread_id_x
// CHECK:       %[[COLUMN:.*]] = arith.muli %[[NUMBER]], %c64
// CHECK:       arith.cmpi ult, %thread_id_x, %c8
// CHECK:       scf.if
// CHECK:         %[[TOKEN:.*]] = scf.if
// CHECK-NEXT:      memref.load %[[TOKENS]][%{{.*}}, %[[COLUMN]]]
// CHECK:         %[[PAGE:.*]] = arith.shrsi %[[TOKEN]], %c6_i32
// CHECK-NEXT:    memref.store %[[PAGE]], %[[Y]][%{{.*}}, %[[NUMBER]]]
// CHECK-NEXT:  }
// CHECK:       vector.store %[[VALUE]], %[[X]]
// CHECK-NOT:   store {{.*}}, %[[Y]]
// CHECK:       gpu.return
nsa.step @gather(in %n : index, in %m : index, in %pool[%n] : tensor<?xi64>,
                 in %tokens : tensor<?x?xi32>, out %x : memref<?x?xi32>,
                 out %y : memref<?x?xi32>) {
  nsa.launch @kernel {
    nsa.segment tile(%n, %m) {
      %tab = nsa.page_table %tokens[%pool] columns %m
          : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x?xi32>
      nsa.copy %tab to %x : tensor<?x?xi32> to memref<?x?xi32>
      %real = nsa.real_page_table %tab page_size 64
          : tensor<?x?xi32> -> tensor<?x?xi32>
      nsa.copy %real to %y : tensor<?x?xi32> to memref<?x?xi32>
    }
  }
}

// Of smaller pages a tile has more than a warp has threads: they are picked from
// the tokens that pass.
// CHECK-LABEL: gpu.module @many_pages {
// CHECK:         %[[VALUE:.*]] = scf.if %{{.*}} -> (vector<4xi32>) {
// CHECK:       vector.store %[[VALUE]], %[[X:.*]][
// CHECK:       %[[REST:.*]] = arith.remui %{{.*}}, %c8
// CHECK:       arith.cmpi eq, %[[REST]], %c0
// CHECK:       scf.if
// CHECK-NEXT:  %[[TOKEN:.*]] = vector.extract %[[VALUE]][0]
// CHECK:       %[[PAGE:.*]] = arith.shrsi %[[TOKEN]], %c3_i32
// CHECK:       memref.store %[[PAGE]]
// CHECK-NOT:   store
// CHECK:       gpu.return
nsa.step @many_pages(in %n : index, in %m : index, in %pool[%n] : tensor<?xi64>,
                     in %tokens : tensor<?x?xi32>, out %x : memref<?x?xi32>,
                     out %y : memref<?x?xi32>) {
  nsa.launch @kernel {
    nsa.segment tile(%n, %m) {
      %tab = nsa.page_table %tokens[%pool] columns %m
          : tensor<?x?xi32>, tensor<?xi64> -> tensor<?x?xi32>
      nsa.copy %tab to %x : tensor<?x?xi32> to memref<?x?xi32>
      %real = nsa.real_page_table %tab page_size 8
          : tensor<?x?xi32> -> tensor<?x?xi32>
      nsa.copy %real to %y : tensor<?x?xi32> to memref<?x?xi32>
    }
  }
}

// A scan is one block: warps add up with shuffles, then one barrier, and the
// sums of all warps from workgroup memory. Two scans share the barrier.
// CHECK-LABEL: gpu.module @scan {
// CHECK-NEXT:  gpu.func @kernel(
// CHECK-SAME:    %[[N:[a-z0-9]+]]: index,
// CHECK-SAME:    %[[CU:[a-z0-9]+]]: memref<?xi32>, %[[CLIP_CU:[a-z0-9]+]]: memref<?xi32>)
// CHECK-SAME:    workgroup(%[[BUFFER:.*]] : memref<2x2x4xi32, #gpu.address_space<workgroup>> {llvm.align = 16 : i64})
// What a round adds up is loaded in the round before, and once for both; what
// one of them makes of it is computed when it is added up.
// CHECK:       %[[SUMS:.*]]:4 = scf.for %{{.*}} = %c0 to %[[N]] step %c128
// CHECK-SAME:      iter_args(%{{.*}} = %{{.*}}, %{{.*}} = %{{.*}}, %[[LOADED:.*]] = %{{.*}}, %
// A row among those of a size of the step has 32 bits, and no sign.
// CHECK-NEXT:    %[[ROUND:.*]] = arith.divui %{{.*}}, %c128 : index
// CHECK-NEXT:    %[[FIRST:.*]] = arith.muli %[[ROUND]], %c128 : index
// CHECK-NEXT:    %[[THIS:.*]] = arith.addi %[[FIRST]], %{{.*}} : index
// CHECK-NEXT:    %[[NARROW:.*]] = arith.index_cast %[[THIS]] : index to i32
// CHECK-NEXT:    %[[WIDE:.*]] = arith.index_castui %[[NARROW]] : i32 to index
// CHECK:         %[[NEXT:.*]] = arith.addi %[[WIDE]], %c128 : index
// CHECK:         memref.load %{{.*}}[%[[NEXT]]]
// CHECK:         %[[CLIPPED:.*]] = arith.minsi %[[LOADED]], %c2048_i32
// CHECK:         arith.select %{{.*}}, %[[CLIPPED]], %c0_i32
// CHECK-COUNT-10: gpu.shuffle  up
// CHECK-NOT:   gpu.shuffle
// CHECK:       memref.store %{{.*}}, %[[BUFFER]]
// CHECK:       memref.store %{{.*}}, %[[BUFFER]]
// CHECK:       gpu.barrier
// CHECK-NOT:   gpu.barrier
// CHECK-COUNT-8: memref.load %[[BUFFER]]
// CHECK-NOT:   memref.load %[[BUFFER]]
// CHECK:       memref.store %{{.*}}, %[[CU]][%[[ROW:.*]]] :
// CHECK-NEXT:  memref.store %{{.*}}, %[[CLIP_CU]][%[[ROW]]] :
// CHECK:       memref.store %[[SUMS]]#0, %[[CU]][%[[N]]] :
// CHECK-NEXT:  memref.store %[[SUMS]]#1, %[[CLIP_CU]][%[[N]]] :
// CHECK:       gpu.return
nsa.step @scan(in %n : index, in %a[%n] : tensor<?xi32>, out %x : memref<?xi32>,
               out %y : memref<?xi32>) {
  nsa.launch @kernel {
    nsa.segment scan(%n) {
      %cu = nsa.cu_seqlens %a : tensor<?xi32> -> tensor<?xi32>
      %clip = nsa.clip_seqlens %a to 2048 : tensor<?xi32>
      %clip_cu = nsa.cu_seqlens %clip : tensor<?xi32> -> tensor<?xi32>
      nsa.copy %cu to %x : tensor<?xi32> to memref<?xi32>
      nsa.copy %clip_cu to %y : tensor<?xi32> to memref<?xi32>
    }
  }
}

// A size that is computed may be any, and so may its rows.
// CHECK-LABEL: gpu.module @computed {
// CHECK:       scf.for
// CHECK-NEXT:    %[[ROUND:.*]] = arith.divui %{{.*}}, %c128 : index
// CHECK-NEXT:    %[[FIRST:.*]] = arith.muli %[[ROUND]], %c128 : index
// CHECK-NEXT:    %[[ROW:.*]] = arith.addi %[[FIRST]], %{{.*}} : index
// CHECK-NEXT:    arith.addi %[[ROW]], %c128 : index
// CHECK:         memref.store %{{.*}}, %{{.*}}[%[[ROW]]] : memref<?xi32>
// CHECK:       gpu.return
nsa.step @computed(in %n : index, in %a : tensor<?xi32>, out %x : memref<?xi32>) {
  %size = affine.apply affine_map<()[s0] -> (s0 * 3)>()[%n]
  nsa.launch @kernel {
    nsa.segment scan(%size) {
      %padded = nsa.map(%i) in (%size) : tensor<?xi32> {
        %zero = arith.constant 0 : i32
        %element = nsa.read %a[%i] else %zero : tensor<?xi32>
        nsa.yield %element : i32
      }
      %cu = nsa.cu_seqlens %padded : tensor<?xi32> -> tensor<?xi32>
      nsa.copy %cu to %x : tensor<?xi32> to memref<?xi32>
    }
  }
}

// Blocks of segments follow each other; that of a scan comes first, wherever
// the scan stands.
// CHECK-LABEL: gpu.module @segments {
// CHECK:       %[[BLOCK:.*]] = arith.index_cast %block_id_x : index to i32
// CHECK-NEXT:  %[[IS_SCAN:.*]] = arith.cmpi ult, %[[BLOCK]], %c1_i32
// CHECK-NEXT:  scf.if %[[IS_SCAN]] {
// CHECK:         gpu.barrier
// CHECK:       } else {
// CHECK-NEXT:    %[[REST:.*]] = arith.subi %[[BLOCK]], %c1_i32
// CHECK-NOT:     gpu.barrier
// CHECK:       gpu.return
nsa.step @segments(in %n : index, in %m : index, in %a[%n] : tensor<?xi32>,
                   in %b[%n, %m] : tensor<?x?xi32>, out %x : memref<?xi32>,
                   out %y : memref<?x?xi32>) {
  nsa.launch @kernel {
    nsa.segment tile(%n, %m) {
      nsa.copy %b to %y : tensor<?x?xi32> to memref<?x?xi32>
    }
    nsa.segment scan(%n) {
      %cu = nsa.cu_seqlens %a : tensor<?xi32> -> tensor<?xi32>
      nsa.copy %cu to %x : tensor<?xi32> to memref<?xi32>
    }
  }
}

// A kernel for each launch.
// CHECK-LABEL: gpu.module @two {
// CHECK:       gpu.func @first(
// CHECK:       gpu.func @second(
nsa.step @two(in %n : index, in %a[%n] : tensor<?xi32>, out %x : memref<?xi32>,
              out %y : memref<?xi32>) {
  nsa.launch @first {
    nsa.segment tile(%n) {
      nsa.copy %a to %x : tensor<?xi32> to memref<?xi32>
    }
  }
  nsa.launch @second {
    nsa.segment tile(%n) {
      nsa.copy %a to %y : tensor<?xi32> to memref<?xi32>
    }
  }
}

// A launch of nothing is a kernel of nothing.
// CHECK-LABEL: gpu.func @nothing
// CHECK-NOT:     memref
// CHECK:         gpu.return
nsa.step @empty() {
  nsa.launch @nothing {
  }
}
