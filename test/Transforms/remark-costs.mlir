// What formulas cost is said where remarks are asked for.

// RUN: nsa-opt %s --nsa-to-ptx --remarks-filter=nsa -o /dev/null 2>&1 | FileCheck %s
// RUN: nsa-compile %s -o %t --emit=manifest --remarks 2>&1 | FileCheck %s

// Sums are each block's own; who searches them says so.
// CHECK-DAG: 'nsa.scan' is computed by each block in full by itself
// CHECK-DAG: 1 reads and 1 searches an element

// A recurrence is what a launch waits for.
// CHECK-DAG: 'nsa.iterate' is computed by each block in full by itself
// CHECK-DAG: the longest block of its launch: it makes this recurrence first, step by step
// CHECK-NOT: the longest block

// A row of a table by the map's own column is read in vectors; a column that is computed, one by one.
// CHECK-DAG: :[[# @LINE + 6]]:{{.*}}RemarkCosts{{.*}}3 reads and 0 searches an element, 4 elements at once
// CHECK-DAG: :[[# @LINE + 12]]:{{.*}}[Missed] RemarkCosts{{.*}}its last index is not the formula's own{{.*}}read element by element
// CHECK-NOT: :[[# @LINE + 9]]:{{.*}}[Missed] RemarkCosts
nsa.step @costs(in %n : index, in %m : index, in %pool[%n] : tensor<?xi64>, in %table : tensor<?x?xi32>,
                in %lens[%n] : tensor<?xi32>, out %x : memref<?x?xi32>, out %y : memref<?xi32>, out %z : memref<?xi32>) {

  %v = nsa.map(%r, %c) in (%n, %m) : tensor<?x?xi32> {
    %none = arith.constant 0 : i32
    %one = arith.constant 1 : index
    %request = nsa.read %pool[%r] : tensor<?xi64>
    %row = arith.index_cast %request : i64 to index
    %a = nsa.read %table[%row, %c] else %none : tensor<?x?xi32>
    %next = arith.addi %c, %one : index
    %b = nsa.read %table[%row, %next] else %none : tensor<?x?xi32>
    %sum = arith.addi %a, %b : i32
    nsa.yield %sum : i32
  }
  %off = nsa.scan %lens : tensor<?xi32> -> tensor<?xi32>
  %w = nsa.map(%t) in (%m) : tensor<?xi32> {
    %none = arith.constant 0 : i32
    %after = nsa.search %off for %t : tensor<?xi32>
    %len = nsa.read %lens[%after] else %none : tensor<?xi32>
    nsa.yield %len : i32
  }
  %begins = nsa.iterate(%i, %b) in (%m) from 0 : tensor<?xi32> {
    %goal = arith.index_cast %b : i32 to index
    %after = nsa.search %off for %goal : tensor<?xi32>
    %end = nsa.read %off[%after] else %b : tensor<?xi32>
    nsa.yield %end : i32
  }
  nsa.copy %v to %x : tensor<?x?xi32> to memref<?x?xi32>
  nsa.copy %w to %y : tensor<?xi32> to memref<?xi32>
  nsa.copy %begins to %z : tensor<?xi32> to memref<?xi32>
}
