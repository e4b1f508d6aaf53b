// RUN: nsa-opt %s --pass-pipeline='builtin.module(nsa.step(nsa-form-launches{per-copy=true},nsa-assign-tiles),nsa-launch-to-gpu,canonicalize,cse)' \
// RUN:   | FileCheck %s

// Rows that a request has four of: whether they can be stored by wide accesses
// is found out once, for all rows of all destinations.

!table = tensor<?x?xi32>
!table_out = memref<?x?xi32, strided<[?, 1]>>

// CHECK-LABEL: gpu.func @repeat
// CHECK:         %[[BASE:.*]] = memref.extract_aligned_pointer_as_index %[[OUT0:arg[3-9]]] :
// CHECK:         %[[BYTES:.*]] = arith.muli %{{.*}}#0, %c4
// CHECK:         arith.ori %[[BASE]], %[[BYTES]]
// CHECK:         memref.extract_aligned_pointer_as_index %[[OUT1:arg[3-9]]] :
// CHECK:         scf.if
// CHECK-NEXT:      scf.for %[[I:.*]] = %c0 to %c4 step %c1 {
// CHECK-NEXT:        %[[ROW:.*]] = arith.addi %{{.*}}, %[[I]]
// CHECK-NEXT:        vector.store %[[TOKENS:.*]], %[[OUT0]][%[[ROW]], %{{.*}}]
// CHECK-NEXT:        vector.store %[[TOKENS]], %[[OUT1]][%[[ROW]], %{{.*}}]
// CHECK-NEXT:      }
// CHECK-NEXT:    } else {
// CHECK-NEXT:      scf.for
// CHECK:             scf.if
// CHECK:               memref.store
nsa.step @repeat(in %bs : index, in %max_len : index,
                 in %pool[%bs] : tensor<?xi64>, in %tokens : !table,
                 out %out0 : !table_out, out %out1 : !table_out) {
  %rows = nsa.expansion by 4
  %tab = nsa.page_table %tokens[%pool] columns %max_len
      : !table, tensor<?xi64> -> !table
  %repeated = nsa.expand_rows %tab over %rows : !table -> !table
  nsa.copy %repeated to %out0, %out1 : !table to !table_out, !table_out
}

// What decides whether a point is live, and the pool index, are loaded before the
// first branch, which depends on both: neither load waits for the other.

// Blocks go across the rows, whose last columns may be nobody's: those come last.

// CHECK-LABEL: gpu.func @live
// CHECK-SAME:    %[[BS:[a-z0-9]+]]: index
// CHECK:         %[[BLOCK:.*]] = arith.index_cast %block_id_x
// CHECK:         %[[ROWS:.*]] = arith.index_cast %[[BS]]
// CHECK:         %[[TILE:.*]] = arith.divui %[[BLOCK]], %[[ROWS]]
// CHECK:         %[[BEFORE:.*]] = arith.muli %[[TILE]], %[[ROWS]]
// CHECK:         %[[NUMBER:.*]] = arith.subi %[[BLOCK]], %[[BEFORE]]
// CHECK:         arith.index_castui %[[NUMBER]] : i32 to index
// CHECK-NOT:     scf.if
// CHECK:         %[[LEN:.*]] = memref.load %{{.*}} : memref<?xi32
// CHECK:         %[[IS_LIVE:.*]] = arith.cmpi slt
// CHECK:         %[[ROW:.*]] = memref.load %{{.*}} : memref<?xi64
// CHECK:         %[[BOTH:.*]] = arith.andi %[[IS_LIVE]], %{{.*}} : i1
// CHECK:         %[[CAN:.*]] = arith.andi %[[BOTH]], %{{.*}} : i1
// CHECK:         scf.if %[[CAN]]
// CHECK-NEXT:    vector.load
// CHECK:         scf.if %[[IS_LIVE]]
// CHECK:         vector.store
// CHECK:         gpu.return
nsa.step @live(in %bs : index, in %max_len : index,
               in %seq_lens[%bs] : tensor<?xi32>,
               in %pool[%bs] : tensor<?xi64>, in %tokens : !table,
               out %out : !table_out) {
  %len = nsa.seqlens %seq_lens plus 0 : tensor<?xi32> -> tensor<?xi32>
  %tab = nsa.page_table %tokens[%pool] columns %max_len live %len
      : tensor<?xi32> : !table, tensor<?xi64> -> !table
  nsa.copy %tab to %out : !table to !table_out
}
