// Rows whose elements share what is worth computing once are walked.

// RUN: nsa-opt %s --nsa-assign-tiles --nsa-launch-to-gpu --canonicalize --cse | FileCheck %s --check-prefix=GPU
// RUN: nsa-opt %s --nsa-assign-tiles --nsa-launch-to-loops --canonicalize --cse | FileCheck %s --check-prefix=LOOPS

// A warp has a row, so a block has four.
// GPU-LABEL: gpu.module @combine {
// GPU-NEXT:  gpu.func @kernel(%[[BS:[a-z0-9]+]]: index, %[[QUERIES:[a-z0-9]+]]: index, %[[TOPK:[a-z0-9]+]]: index,
// GPU-SAME:    %[[INDICES:[a-z0-9]+]]: memref<?x?xi32, strided<[?, 1]>> {nsa.readonly, nsa.sizes = array<i64: 0, 1>},
// GPU-SAME:    %[[START_LOC:[a-z0-9]+]]: memref<?xi32, strided<[?]>> {nsa.readonly},
// GPU-SAME:    %[[LENS:[a-z0-9]+]]: memref<?xi32, strided<[?]>> {nsa.readonly},
// GPU-SAME:    %[[GATHERS:[a-z0-9]+]]: memref<?xi32, strided<[?]>> {nsa.readonly},
// GPU-DAG:   %[[WIDTH:.*]] = affine.apply #{{.*}}()[%[[TOPK]]]
// GPU-DAG:   %[[WARP:.*]] = arith.divui %thread_id_x, %c32
// GPU-DAG:   %[[LANE:.*]] = arith.remui %thread_id_x, %c32
// GPU-DAG:   %[[FIRST_ROW:.*]] = arith.muli %block_id_x, %c4
// GPU:       %[[ROW:.*]] = arith.addi %[[FIRST_ROW]], %[[WARP]]
// GPU-NEXT:  %[[IS_ROW:.*]] = arith.cmpi slt, %[[ROW]], %[[QUERIES]]
// GPU-NEXT:  scf.if %[[IS_ROW]] {
// The row's request, once: each lane looks at one.
// GPU:         %[[SHARED:.*]]:4 = scf.if %{{.*}} -> (i32, i32, i32, i32) {
// GPU-NEXT:      %[[OFFSET:.*]] = memref.load %[[START_LOC]][%c0]
// GPU-NEXT:      memref.load %[[START_LOC]][%[[BS]]]
// GPU:           %[[REQUEST:.*]]:2 = scf.while (%{{.*}} = %c0, %{{.*}} = %[[BS]])
// GPU:             %[[PROBE:.*]] = arith.muli %[[LANE]], %{{.*}}
// GPU:             gpu.subgroup_reduce  add %{{.*}} uniform : (i32) -> i32
// GPU:           memref.load %[[LENS]][%[[REQUEST]]#0]
// The sum of the windows before, by all lanes.
// GPU:           %[[PART:.*]] = scf.for %[[OTHER:.*]] = %[[LANE]] to %[[REQUEST]]#0 step %c32
// GPU-NEXT:        memref.load %[[GATHERS]][%[[OTHER]]]
// GPU:           gpu.subgroup_reduce  add %[[PART]] uniform : (i32) -> i32
// GPU-NOT:       gpu.shuffle
// GPU:         } else {
// GPU-NEXT:      scf.yield %c0_i32, %c0_i32, %c0_i32, %c0_i32
// Then the columns, a vector of 16 bytes a lane at a time.
// GPU:         %[[COLUMN:.*]] = arith.muli %[[LANE]], %c4
// GPU-NEXT:    scf.for %[[AT:.*]] = %[[COLUMN]] to %[[WIDTH]] step %c128 {
// GPU:           vector.load %[[INDICES]][%[[ROW]], %[[AT]]] {alignment = 16 : i64}
// GPU-NOT:       vector.load
// GPU:           vector.store %{{.*}}[%[[ROW]], %[[AT]]] {alignment = 16 : i64}
// GPU-NOT:       vector.store
// GPU:       gpu.return

// LOOPS-LABEL: func.func @combine.kernel(
// LOOPS-SAME:  %[[BS:[a-z0-9]+]]: index, %[[QUERIES:[a-z0-9]+]]: index, %[[TOPK:[a-z0-9]+]]: index,
// LOOPS:       %[[WIDTH:.*]] = affine.apply #{{.*}}()[%[[TOPK]]]
// LOOPS:       scf.for %[[ROW:.*]] = %c0 to %[[QUERIES]] step %c1 {
// LOOPS:         scf.if %{{.*}} -> (i32, i32, i32, i32) {
// LOOPS:           %[[REQUEST:.*]]:2 = scf.while
// LOOPS:           scf.for %{{.*}} = %c0 to %[[REQUEST]]#0 step %c1
// LOOPS:         scf.for %[[COLUMN:.*]] = %c0 to %[[WIDTH]] step %c4 {
// LOOPS-NOT:       scf.while
// LOOPS:           vector.store %{{.*}}[%[[ROW]], %[[COLUMN]]] {alignment = 16 : i64}
nsa.step @combine(in %bs : index, in %queries : index, in %topk : index,
                  in %topk_indices : tensor<?x?xi32>,
                  in %query_start_loc[%bs + 1] : tensor<?xi32>,
                  in %lens[%bs] : tensor<?xi32>, in %gathers[%bs] : tensor<?xi32>,
                  in %compressed[%bs] : tensor<?xi32>, out %x : memref<?x?xi32>) {
  %width = affine.apply affine_map<()[s0] -> ((s0 + 128) ceildiv 128 * 128)>()[%topk]
  nsa.launch @kernel {
    nsa.segment tile(%queries, %width) {
      %sums = nsa.cu_seqlens %gathers : tensor<?xi32> -> tensor<?xi32>
      %window = nsa.window_bases %sums from %topk : tensor<?xi32> -> tensor<?xi32>
      %rows = nsa.combine_indices topk %topk of %topk_indices : tensor<?x?xi32>
          queries %queries at %query_start_loc lengths %lens gathers %gathers
          bases %compressed, %window ratio 4 window 128
          : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>
          -> tensor<?x?xi32>
      nsa.copy %rows to %x : tensor<?x?xi32> to memref<?x?xi32>
    }
  }
}

// Without compressed rows nothing is read for an element, and where the lengths
// are stored each thread has a query and looks for its request by itself.
// GPU-LABEL: gpu.module @windows_only {
// GPU:       scf.while
// GPU:       scf.for
// GPU-NOT:     memref.load
// GPU:         vector.store
// GPU:       scf.while
// GPU:       %[[SUM:.*]] = arith.addi %{{.*}}, %{{.*}} : i32
// GPU:       gpu.return
nsa.step @windows_only(in %bs : index, in %queries : index,
                       in %query_start_loc[%bs + 1] : tensor<?xi32>,
                       in %lens[%bs] : tensor<?xi32>,
                       out %x : memref<?x?xi32>, out %y : memref<?xi32>) {
  %c128 = arith.constant 128 : index
  nsa.launch @kernel {
    nsa.segment tile(%queries, %c128) {
      %rows = nsa.combine_indices topk 0 queries %queries at %query_start_loc
          lengths %lens gathers %lens bases %lens, %lens ratio 1 window 128
          : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>
          -> tensor<?x128xi32>
      nsa.copy %rows to %x : tensor<?x128xi32> to memref<?x?xi32>
    }
    nsa.segment tile(%queries) {
      %count = nsa.combine_lens topk 0 queries %queries at %query_start_loc
          lengths %lens ratio 1 window 128
          : tensor<?xi32>, tensor<?xi32> -> tensor<?xi32>
      nsa.copy %count to %y : tensor<?xi32> to memref<?xi32>
    }
  }
}
