// Rows of one-dimensional values look for their requests.

// RUN: nsa-opt %s --nsa-assign-tiles --nsa-launch-to-gpu --canonicalize --cse | FileCheck %s --check-prefix=GPU
// RUN: nsa-opt %s --nsa-assign-tiles --nsa-launch-to-loops --canonicalize --cse | FileCheck %s --check-prefix=LOOPS

// A block has 128 rows, and goes through the requests, 128 at a time, until it
// has seen all of them or the first past its rows.
// GPU-LABEL: gpu.module @rows {
// GPU-NEXT:  gpu.func @kernel(%[[BS:[a-z0-9]+]]: index, %[[BOUND:[a-z0-9]+]]: index,
// GPU-SAME:    %[[EXTEND:[a-z0-9]+]]: memref<?xi32, strided<[?]>> {nsa.readonly},
// GPU-SAME:    %[[START:[a-z0-9]+]]: memref<?xi32, strided<[?]>> {nsa.readonly},
// GPU-SAME:    %[[TOKENS:[a-z0-9]+]]: memref<?x?xi32, strided<[?, 1]>> {nsa.readonly, nsa.sizes = array<i64: 0, 1>},
// GPU-SAME:    %[[X:[a-z0-9]+]]: memref<?xi32>)
// GPU-SAME:    workgroup(%[[SCAN:.*]] : memref<2x1x4xi32, #gpu.address_space<workgroup>> {llvm.align = 16 : i64}, %[[BEFORE:.*]] : memref<2x1x128xi32, #gpu.address_space<workgroup>> {llvm.align = 16 : i64})
// GPU:       %[[BEGIN:.*]] = arith.muli %block_id_x, %c128
// GPU-NEXT:  %[[END:.*]] = arith.addi %[[BEGIN]], %c128
// GPU-NEXT:  %[[ROW:.*]] = arith.addi %[[BEGIN]], %thread_id_x
// GPU-DAG:   %[[BOUND32:.*]] = arith.index_cast %[[BOUND]]
// GPU-DAG:   %[[ROW32:.*]] = arith.index_cast %[[ROW]]
// GPU-DAG:   %[[END32:.*]] = arith.index_cast %[[END]]
// GPU:       %[[FOUND:.*]]:5 = scf.while (%[[FIRST:.*]] = %c0, %[[HALF:.*]] = %c0, %{{.*}} = %c0, %[[SUM:.*]] = %c0_i32, %{{.*}} = %c0_i32)
// GPU-DAG:     arith.cmpi ult, %[[SUM]], %[[END32]]
// GPU-DAG:     arith.cmpi slt, %[[FIRST]], %[[BS]]
// GPU:         scf.condition
// A request's rows are 0 to the bound before they are summed, and sums stop at it.
// GPU:         %[[COUNT:.*]] = memref.load %[[EXTEND]]
// GPU:         arith.minsi %{{.*}}, %[[BOUND]]
// GPU-NEXT:    arith.maxsi %{{.*}}, %c0
// GPU:         gpu.shuffle  up
// GPU:         arith.minui %{{.*}}, %[[BOUND32]]
// GPU:         gpu.barrier
// GPU:         memref.store %{{.*}}, %[[BEFORE]][%{{.*}}, %c0, %thread_id_x]
// GPU:         gpu.barrier
// Seven halvings among 128 requests, by the threads whose rows are among theirs.
// GPU:         %[[IS_HERE:.*]] = arith.andi
// GPU-NEXT:    scf.if %[[IS_HERE]] -> (index, i32) {
// GPU-COUNT-8:   memref.load %[[BEFORE]]
// GPU-NOT:       memref.load
// GPU:         } else {
// GPU-NOT:     gpu.barrier
// GPU:         scf.yield
// A row that is past the last one is not stored.
// GPU:       %[[IS_ROW:.*]] = arith.cmpi ult, %[[ROW32]], %[[FOUND]]#3
// GPU:       scf.if %[[IS_ROW]] {
// GPU:         %[[NUMBER:.*]] = arith.subi %[[ROW]]
// GPU:         memref.load %[[START]][%[[FOUND]]#2]
// GPU:         arith.andi
// GPU:         scf.if %{{.*}} -> (i32) {
// GPU-NEXT:      memref.load %[[TOKENS]]
// GPU:         memref.store %{{.*}}, %[[X]][%[[ROW]]]
// GPU-NEXT:  }
// GPU-NEXT:  gpu.return

// On the host requests come one after the other, with the rows before them.
// LOOPS-LABEL: func.func @rows.kernel(
// LOOPS-SAME:  %[[BS:[a-z0-9]+]]: index, %[[BOUND:[a-z0-9]+]]: index,
// LOOPS:       scf.for %[[REQUEST:.*]] = %c0 to %[[BS]] step %c1 iter_args(%[[FIRST:.*]] = %c0) -> (index) {
// LOOPS-NEXT:    %[[REST:.*]] = arith.subi %[[BOUND]], %[[FIRST]]
// LOOPS:         %[[COUNT:.*]] = arith.minsi %{{.*}}, %[[REST]]
// LOOPS-NEXT:    scf.for %[[NUMBER:.*]] = %c0 to %[[COUNT]] step %c1 {
// LOOPS-NEXT:      %[[ROW:.*]] = arith.addi %[[FIRST]], %[[NUMBER]]
// LOOPS:           memref.store %{{.*}}, %{{.*}}[%[[ROW]]]
// LOOPS-NEXT:    }
// LOOPS-NEXT:    %[[NEXT:.*]] = arith.addi %[[FIRST]], %[[COUNT]]
// LOOPS-NEXT:    scf.yield %[[NEXT]]
nsa.step @rows(in %bs : index, in %bound : index, in %extend[%bs] : tensor<?xi32>,
               in %start[%bs] : tensor<?xi32>, in %tokens : tensor<?x?xi32>,
               out %x : memref<?xi32>) {
  nsa.launch @kernel {
    nsa.segment expand(%bs) {
      %rows = nsa.expansion by %extend within %bound : tensor<?xi32>
      %token = nsa.token_ranges %tokens[%start] from %start over %rows
          : tensor<?x?xi32>, tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
      nsa.copy %token to %x : tensor<?xi32> to memref<?xi32>
    }
  }
}

// Sums of rows ride along, and one more block, past all rows, stores what no row
// does: the leading 0 and the number of rows.
// GPU-LABEL: gpu.module @sums {
// GPU-NEXT:  gpu.func @kernel(
// GPU-SAME:    %[[CU:[a-z0-9]+]]: memref<?xi32>, %[[TOTAL:[a-z0-9]+]]: memref<?xi32>)
// GPU-SAME:    workgroup(%{{.*}} : memref<2x2x4xi32, #gpu.address_space<workgroup>> {llvm.align = 16 : i64}, %{{.*}} : memref<2x2x128xi32, #gpu.address_space<workgroup>> {llvm.align = 16 : i64})
// GPU:       %[[FOUND:.*]]:7 = scf.while
// GPU:       scf.if
// GPU:         memref.store %{{.*}}, %[[CU]][%{{.*}}]
// GPU:       arith.cmpi eq, %thread_id_x, %c0
// GPU-NEXT:  arith.cmpi uge, %{{.*}}, %{{.*}} : index
// GPU-NEXT:  %[[IS_EXTRA:.*]] = arith.andi
// GPU:       scf.if %[[IS_EXTRA]] {
// GPU-NEXT:    memref.store %c0_i32, %[[CU]][%c0]
// GPU-NEXT:    memref.store %[[FOUND]]#3, %[[TOTAL]][%c0]
// GPU-NEXT:  }
nsa.step @sums(in %bs : index, in %bound : index, in %extend[%bs] : tensor<?xi32>,
               in %lens[%bs] : tensor<?xi32>, out %cu : memref<?xi32>,
               out %total : memref<?xi32>) {
  nsa.launch @kernel {
    nsa.segment expand(%bs) {
      %rows = nsa.expansion by %extend within %bound : tensor<?xi32>
      %len = nsa.expand_seqlens causal %lens over %rows
          : tensor<?xi32> -> tensor<?xi32>
      %sums = nsa.cu_seqlens %len : tensor<?xi32> -> tensor<?xi32>
      nsa.copy %sums to %cu : tensor<?xi32> to memref<?xi32>
      %count = nsa.total_rows %rows : tensor<1xi32>
      nsa.copy %count to %total : tensor<1xi32> to memref<?xi32>
    }
  }
}
