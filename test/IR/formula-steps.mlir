// The steps of test/python/build_steps.py as texts: ids of a window, slots of tokens, counts of valid entries, owners of
// ragged rows, compaction in order, a named operation beside formulas, parts of whole requests, and drafts at the ends of
// ragged rows. test_build.py compares these with what Python writes, and runs them.

// RUN: nsa-opt %s | nsa-opt | FileCheck %s
// RUN: nsa-opt %s --nsa-to-ptx -o /dev/null

// CHECK-LABEL: nsa.step @window_ids(
nsa.step @window_ids(
    in %n : index,
    in %lens[%n] : tensor<?xi32>,
    in %pool[%n] : tensor<?xi64>,
    in %req_to_token : tensor<?x?xi32>,
    out %ids : memref<?x?xi32, strided<[?, 1]>>,
    out %more_ids : memref<?x?xi32, strided<[?, 1]>>) {
  %map.0 = nsa.map(%r, %k) in (%n, 128) : tensor<?x128xi32> {
    %0 = arith.constant 100 : index
    %1 = arith.cmpi slt, %k, %0 : index
    %2 = nsa.read %pool[%r] : tensor<?xi64>
    %3 = arith.index_cast %2 : i64 to index
    %4 = nsa.read %lens[%r] : tensor<?xi32>
    %5 = arith.constant 1 : i32
    %6 = arith.subi %4, %5 : i32
    %7 = arith.index_cast %6 : i32 to index
    %8 = arith.subi %7, %k : index
    %9 = arith.constant -1 : i32
    %10 = nsa.read %req_to_token[%3, %8] else %9 : tensor<?x?xi32>
    %11 = arith.select %1, %10, %9 : i32
    nsa.yield %11 : i32
  }
  nsa.copy %map.0 to %ids, %more_ids : tensor<?x128xi32> to memref<?x?xi32, strided<[?, 1]>>, memref<?x?xi32, strided<[?, 1]>>
}

// CHECK-LABEL: nsa.step @slot_mapping(
nsa.step @slot_mapping(
    in %tokens : index,
    in %bound : index,
    in %positions[%tokens] : tensor<?xi64>,
    in %requests[%tokens] : tensor<?xi32>,
    in %block_table : tensor<?x?xi32>,
    out %slots : memref<?xi64, strided<[?]>>) {
  %map.0 = nsa.map(%t) in (%bound) : tensor<?xi64> {
    %0 = arith.constant -1 : i32
    %1 = nsa.read %requests[%t] else %0 : tensor<?xi32>
    %2 = arith.index_cast %1 : i32 to index
    %3 = arith.constant -1 : i64
    %4 = nsa.read %positions[%t] else %3 : tensor<?xi64>
    %5 = arith.constant 64 : i64
    %6 = arith.floordivsi %4, %5 : i64
    %7 = arith.index_cast %6 : i64 to index
    %8 = nsa.read %block_table[%2, %7] else %0 : tensor<?x?xi32>
    %9 = arith.constant 0 : i32
    %10 = arith.cmpi sge, %8, %9 : i32
    %11 = arith.extsi %8 : i32 to i64
    %12 = arith.muli %11, %5 : i64
    %13 = arith.constant 63 : i64
    %14 = arith.andi %4, %13 : i64
    %15 = arith.addi %12, %14 : i64
    %16 = arith.select %10, %15, %3 : i64
    nsa.yield %16 : i64
  }
  nsa.copy %map.0 to %slots : tensor<?xi64> to memref<?xi64, strided<[?]>>
}

// CHECK-LABEL: nsa.step @valid_entries(
nsa.step @valid_entries(
    in %rows : index,
    in %table[%rows, ?] : tensor<?x?xi32>,
    out %counts : memref<?xi32, strided<[?]>>,
    out %total : memref<?xi32, strided<[?]>>,
    out %most : memref<?xi32, strided<[?]>>,
    out %least : memref<?xi32, strided<[?]>>) {
  %size.0 = arith.constant 1 : index
  %size.1 = tensor.dim %table, %size.0 : tensor<?x?xi32>
  %map.0 = nsa.map(%r, %c) in (%rows, %size.1) : tensor<?x?xi32> {
    %0 = nsa.read %table[%r, %c] : tensor<?x?xi32>
    %1 = arith.constant 0 : i32
    %2 = arith.cmpi sge, %0, %1 : i32
    %3 = arith.constant 1 : i32
    %4 = arith.select %2, %3, %1 : i32
    nsa.yield %4 : i32
  }
  %reduce.0 = nsa.reduce add %map.0 : tensor<?x?xi32> -> tensor<?xi32>
  nsa.copy %reduce.0 to %counts : tensor<?xi32> to memref<?xi32, strided<[?]>>
  %reduce.1 = nsa.reduce add %reduce.0 : tensor<?xi32> -> tensor<1xi32>
  nsa.copy %reduce.1 to %total : tensor<1xi32> to memref<?xi32, strided<[?]>>
  %reduce.2 = nsa.reduce max %reduce.0 : tensor<?xi32> -> tensor<1xi32>
  nsa.copy %reduce.2 to %most : tensor<1xi32> to memref<?xi32, strided<[?]>>
  %reduce.3 = nsa.reduce min %reduce.0 : tensor<?xi32> -> tensor<1xi32>
  nsa.copy %reduce.3 to %least : tensor<1xi32> to memref<?xi32, strided<[?]>>
}

// CHECK-LABEL: nsa.step @owners(
nsa.step @owners(
    in %bs : index,
    in %queries : index,
    in %counts[%bs] : tensor<?xi32>,
    in %lens[%bs] : tensor<?xi32>,
    out %owner : memref<?xi32, strided<[?]>>,
    out %first_key : memref<?xi32, strided<[?]>>,
    out %last_key : memref<?xi32, strided<[?]>>) {
  %scan.0 = nsa.scan %counts : tensor<?xi32> -> tensor<?xi32>
  %scan.1 = nsa.scan %lens : tensor<?xi32> -> tensor<?xi32>
  %map.0 = nsa.map(%q) in (%queries) : tensor<?xi32> {
    %0 = nsa.search %scan.0 for %q : tensor<?xi32>
    %1 = arith.constant 1 : index
    %2 = arith.subi %0, %1 : index
    %3 = arith.index_cast %2 : index to i32
    nsa.yield %3 : i32
  }
  nsa.copy %map.0 to %owner : tensor<?xi32> to memref<?xi32, strided<[?]>>
  %map.1 = nsa.map(%q) in (%queries) : tensor<?xi32> {
    %0 = nsa.read %map.0[%q] : tensor<?xi32>
    %1 = arith.index_cast %0 : i32 to index
    %2 = arith.constant 0 : i32
    %3 = nsa.read %scan.1[%1] else %2 : tensor<?xi32>
    nsa.yield %3 : i32
  }
  nsa.copy %map.1 to %first_key : tensor<?xi32> to memref<?xi32, strided<[?]>>
  %map.2 = nsa.map(%q) in (%queries) : tensor<?xi32> {
    %0 = nsa.read %map.0[%q] : tensor<?xi32>
    %1 = arith.index_cast %0 : i32 to index
    %2 = arith.constant 0 : i32
    %3 = nsa.read %scan.1[%1] else %2 : tensor<?xi32>
    %4 = nsa.read %lens[%1] else %2 : tensor<?xi32>
    %5 = nsa.read %counts[%1] else %2 : tensor<?xi32>
    %6 = arith.subi %4, %5 : i32
    %7 = arith.index_cast %q : index to i32
    %8 = arith.addi %6, %7 : i32
    %9 = nsa.read %scan.0[%1] else %2 : tensor<?xi32>
    %10 = arith.subi %8, %9 : i32
    %11 = arith.constant 1 : i32
    %12 = arith.addi %10, %11 : i32
    %13 = arith.maxsi %12, %2 : i32
    %14 = arith.addi %3, %13 : i32
    nsa.yield %14 : i32
  }
  nsa.copy %map.2 to %last_key : tensor<?xi32> to memref<?xi32, strided<[?]>>
}

// CHECK-LABEL: nsa.step @compacted(
nsa.step @compacted(
    in %rows : index,
    in %table[%rows, ?] : tensor<?x48xi32>,
    out %front : memref<?x?xi32, strided<[?, 1]>>,
    out %count : memref<?xi32, strided<[?]>>) {
  %map.0 = nsa.map(%r, %c) in (%rows, 48) : tensor<?x48xi32> {
    %0 = nsa.read %table[%r, %c] : tensor<?x48xi32>
    %1 = arith.constant 0 : i32
    %2 = arith.cmpi sge, %0, %1 : i32
    %3 = arith.constant 1 : i32
    %4 = arith.select %2, %3, %1 : i32
    nsa.yield %4 : i32
  }
  %scan.0 = nsa.scan inclusive %map.0 : tensor<?x48xi32> -> tensor<?x48xi32>
  %map.1 = nsa.map(%r, %m) in (%rows, 48) : tensor<?x48xi32> {
    %0 = nsa.search %scan.0[%r] for %m : tensor<?x48xi32>
    %1 = arith.constant -1 : i32
    %2 = nsa.read %table[%r, %0] else %1 : tensor<?x48xi32>
    nsa.yield %2 : i32
  }
  nsa.copy %map.1 to %front : tensor<?x48xi32> to memref<?x?xi32, strided<[?, 1]>>
  %reduce.0 = nsa.reduce add %map.0 : tensor<?x48xi32> -> tensor<?xi32>
  nsa.copy %reduce.0 to %count : tensor<?xi32> to memref<?xi32, strided<[?]>>
}

// CHECK-LABEL: nsa.step @mixed(
nsa.step @mixed(
    in %bs : index,
    in %columns : index,
    in %lens[%bs] : tensor<?xi64>,
    in %pool[%bs] : tensor<?xi32>,
    in %req_to_token : tensor<?x?xi32>,
    out %sums : memref<?xi32, strided<[?]>>,
    out %span : memref<?xi32, strided<[?]>>,
    out %newest : memref<?x?xi32, strided<[?, 1]>>,
    out %twice : memref<?x?xi32, strided<[?, 1]>>) {
  %seqlens.0 = nsa.seqlens %lens plus 1 : tensor<?xi64> -> tensor<?xi32>
  %map.0 = nsa.map(%b) in (%bs) : tensor<?xi32> {
    %0 = nsa.read %seqlens.0[%b] : tensor<?xi32>
    %1 = arith.constant 8 : i32
    %2 = arith.ceildivsi %0, %1 : i32
    %3 = arith.muli %2, %1 : i32
    nsa.yield %3 : i32
  }
  %page_table.0 = nsa.page_table %req_to_token[%pool] columns %columns : tensor<?x?xi32>, tensor<?xi32> -> tensor<?x?xi32>
  %real_page_table.0 = nsa.real_page_table %page_table.0 page_size 4 : tensor<?x?xi32> -> tensor<?x?xi32>
  %clip_seqlens.0 = nsa.clip_seqlens %map.0 to 40 : tensor<?xi32>
  %cu_seqlens.0 = nsa.cu_seqlens %clip_seqlens.0 : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %cu_seqlens.0 to %sums : tensor<?xi32> to memref<?xi32, strided<[?]>>
  %map.1 = nsa.map(%b) in (%bs) : tensor<?xi32> {
    %0 = arith.constant 1 : index
    %1 = arith.addi %b, %0 : index
    %2 = nsa.read %cu_seqlens.0[%1] : tensor<?xi32>
    %3 = nsa.read %cu_seqlens.0[%b] : tensor<?xi32>
    %4 = arith.subi %2, %3 : i32
    nsa.yield %4 : i32
  }
  nsa.copy %map.1 to %span : tensor<?xi32> to memref<?xi32, strided<[?]>>
  %size.0 = affine.apply affine_map<()[s0] -> ((s0 + -1))>()[%columns]
  %map.2 = nsa.map(%b, %c) in (%bs, %columns) : tensor<?x?xi32> {
    %0 = arith.subi %size.0, %c : index
    %1 = arith.constant 0 : i32
    %2 = nsa.read %page_table.0[%b, %0] else %1 : tensor<?x?xi32>
    nsa.yield %2 : i32
  }
  nsa.copy %map.2 to %newest : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
  %size.1 = affine.apply affine_map<()[s0] -> ((s0 ceildiv 4))>()[%columns]
  %map.3 = nsa.map(%b, %j) in (%bs, %size.1) : tensor<?x?xi32> {
    %0 = nsa.read %real_page_table.0[%b, %j] : tensor<?x?xi32>
    %1 = arith.constant 2 : i32
    %2 = arith.muli %0, %1 : i32
    %3 = nsa.read %seqlens.0[%b] : tensor<?xi32>
    %4 = arith.addi %2, %3 : i32
    nsa.yield %4 : i32
  }
  nsa.copy %map.3 to %twice : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
}

// CHECK-LABEL: nsa.step @parts(
nsa.step @parts(
    in %n : index,
    in %workers : index,
    in %counts[%n] : tensor<?xi32>,
    out %begins : memref<?xi32, strided<[?]>>,
    out %sizes : memref<?xi32, strided<[?]>>,
    out %longest : memref<?xi32, strided<[?]>>) {
  %map.0 = nsa.map(%b) in (%n) : tensor<?xi32> {
    %0 = nsa.read %counts[%b] : tensor<?xi32>
    %1 = arith.constant 0 : i32
    %2 = arith.maxsi %0, %1 : i32
    nsa.yield %2 : i32
  }
  %scan.0 = nsa.scan %map.0 : tensor<?xi32> -> tensor<?xi32>
  %iterate.0 = nsa.iterate(%i, %begin) in (%workers) from 0 : tensor<?xi32> {
    %0 = arith.constant 40 : i32
    %1 = arith.addi %begin, %0 : i32
    %2 = arith.constant 1 : i32
    %3 = arith.subi %1, %2 : i32
    %4 = arith.index_cast %3 : i32 to index
    %5 = nsa.search %scan.0 for %4 : tensor<?xi32>
    %6 = nsa.read %scan.0[%n] : tensor<?xi32>
    %7 = nsa.read %scan.0[%5] else %6 : tensor<?xi32>
    nsa.yield %7 : i32
  }
  nsa.copy %iterate.0 to %begins : tensor<?xi32> to memref<?xi32, strided<[?]>>
  %map.1 = nsa.map(%i) in (%workers) : tensor<?xi32> {
    %0 = arith.constant 1 : index
    %1 = arith.addi %i, %0 : index
    %2 = nsa.read %iterate.0[%1] : tensor<?xi32>
    %3 = nsa.read %iterate.0[%i] : tensor<?xi32>
    %4 = arith.subi %2, %3 : i32
    nsa.yield %4 : i32
  }
  nsa.copy %map.1 to %sizes : tensor<?xi32> to memref<?xi32, strided<[?]>>
  %map.2 = nsa.map(%i) in (%workers) : tensor<?xi32> {
    %0 = arith.constant 1 : index
    %1 = arith.addi %i, %0 : index
    %2 = nsa.read %iterate.0[%1] : tensor<?xi32>
    %3 = nsa.read %iterate.0[%i] : tensor<?xi32>
    %4 = arith.subi %2, %3 : i32
    nsa.yield %4 : i32
  }
  %reduce.0 = nsa.reduce max %map.2 : tensor<?xi32> -> tensor<1xi32>
  nsa.copy %reduce.0 to %longest : tensor<1xi32> to memref<?xi32, strided<[?]>>
}

// CHECK-LABEL: nsa.step @draft_ends(
nsa.step @draft_ends(
    in %requests : index,
    in %lens[%requests] : tensor<?xi32>,
    in %drafts[%requests, ?] : tensor<?x4xi32>,
    in %accepted[%requests] : tensor<?xi32>,
    out %tokens : memref<?xi32, strided<[?]>>,
    out %starts : memref<?xi32, strided<[?]>>) {
  %map.0 = nsa.map(%b) in (%requests) : tensor<?xi32> {
    %0 = nsa.read %lens[%b] : tensor<?xi32>
    %1 = arith.constant 0 : i32
    %2 = arith.maxsi %0, %1 : i32
    %3 = nsa.read %accepted[%b] : tensor<?xi32>
    %4 = arith.constant 4 : i32
    %5 = arith.minsi %3, %4 : i32
    %6 = arith.maxsi %5, %1 : i32
    %7 = arith.addi %2, %6 : i32
    nsa.yield %7 : i32
  }
  %scan.0 = nsa.scan %map.0 : tensor<?xi32> -> tensor<?xi32>
  %map.1 = nsa.map(%b, %j) in (%requests, 4) : tensor<?x4xi32> {
    %0 = nsa.read %accepted[%b] : tensor<?xi32>
    %1 = arith.constant 4 : i32
    %2 = arith.minsi %0, %1 : i32
    %3 = arith.constant 0 : i32
    %4 = arith.maxsi %2, %3 : i32
    %5 = arith.index_cast %4 : i32 to index
    %6 = arith.cmpi slt, %j, %5 : index
    %7 = arith.constant 1 : i32
    %8 = arith.select %6, %7, %3 : i32
    nsa.yield %8 : i32
  }
  %map.2 = nsa.map(%b, %j) in (%requests, 4) : tensor<?x4xi32> {
    %0 = nsa.read %drafts[%b, %j] : tensor<?x4xi32>
    nsa.yield %0 : i32
  }
  %map.3 = nsa.map(%b, %j) in (%requests, 4) : tensor<?x4xi32> {
    %0 = nsa.read %scan.0[%b] : tensor<?xi32>
    %1 = nsa.read %lens[%b] : tensor<?xi32>
    %2 = arith.constant 0 : i32
    %3 = arith.maxsi %1, %2 : i32
    %4 = arith.addi %0, %3 : i32
    %5 = arith.index_cast %4 : i32 to index
    %6 = arith.addi %5, %j : index
    %7 = arith.index_cast %6 : index to i32
    nsa.yield %7 : i32
  }
  nsa.copy %map.2 when %map.1 at [%map.3] to %tokens : tensor<?x4xi32> when tensor<?x4xi32> at tensor<?x4xi32> to memref<?xi32, strided<[?]>>
  nsa.copy %scan.0 to %starts : tensor<?xi32> to memref<?xi32, strided<[?]>>
}
