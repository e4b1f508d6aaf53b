// RUN: nsa-opt %s | nsa-opt | FileCheck %s
// RUN: nsa-opt %s --emit-bytecode | nsa-opt | FileCheck %s

// Formulas, and what is not elementwise.

// CHECK-LABEL: nsa.step @window
nsa.step @window(
    in %n : index,
    in %lens[%n] : tensor<?xi32>,
    in %pool[%n] : tensor<?xi64>,
    in %req_to_token : tensor<?x?xi32>,
    out %ids : memref<?x128xi32>) {
  // CHECK: %[[SWA:.*]] = nsa.map(%[[R:.*]], %[[C:.*]]) in (%n, 128) : tensor<?x128xi32> {
  // CHECK: nsa.read %lens[%[[R]]] : tensor<?xi32>
  // CHECK: nsa.read %req_to_token[%{{.*}}, %{{.*}}] else %{{.*}} : tensor<?x?xi32>
  // CHECK: nsa.yield %{{.*}} : i32
  %swa = nsa.map(%r, %j) in (%n, 128) : tensor<?x128xi32> {
    %none = arith.constant -1 : i32
    %one = arith.constant 1 : index
    %len = nsa.read %lens[%r] : tensor<?xi32>
    %end = arith.index_cast %len : i32 to index
    %last = arith.subi %end, %one : index
    %pos = arith.subi %last, %j : index
    %request = nsa.read %pool[%r] : tensor<?xi64>
    %row = arith.index_cast %request : i64 to index
    %slot = nsa.read %req_to_token[%row, %pos] else %none : tensor<?x?xi32>
    nsa.yield %slot : i32
  }
  // CHECK: nsa.copy %[[SWA]] to %ids
  nsa.copy %swa to %ids : tensor<?x128xi32> to memref<?x128xi32>
}

// CHECK-LABEL: nsa.step @rows
nsa.step @rows(
    in %n : index, in %bound : index,
    in %counts[%n] : tensor<?xi32>,
    in %flags[%n, ?] : tensor<?x64xi32>,
    out %owners : memref<?xi32>,
    out %totals : memref<?xi32>,
    out %ranks : memref<?x64xi32>,
    out %most : memref<1xi32>) {
  // CHECK: %[[OFF:.*]] = nsa.scan %counts : tensor<?xi32> -> tensor<?xi32>
  %off = nsa.scan %counts : tensor<?xi32> -> tensor<?xi32>
  // CHECK: nsa.map(%[[R:.*]]) in (%bound) : tensor<?xi32> {
  %owner = nsa.map(%r) in (%bound) : tensor<?xi32> {
    // CHECK: nsa.search %[[OFF]] for %[[R]] : tensor<?xi32>
    %after = nsa.search %off for %r : tensor<?xi32>
    %one = arith.constant 1 : index
    %request = arith.subi %after, %one : index
    %id = arith.index_cast %request : index to i32
    nsa.yield %id : i32
  }
  // CHECK: %[[RANKS:.*]] = nsa.scan inclusive %flags : tensor<?x64xi32> -> tensor<?x64xi32>
  %rank = nsa.scan inclusive %flags : tensor<?x64xi32> -> tensor<?x64xi32>
  // CHECK: nsa.reduce add %flags : tensor<?x64xi32> -> tensor<?xi32>
  %total = nsa.reduce add %flags : tensor<?x64xi32> -> tensor<?xi32>
  // CHECK: nsa.reduce max %counts : tensor<?xi32> -> tensor<1xi32>
  %max = nsa.reduce max %counts : tensor<?xi32> -> tensor<1xi32>
  nsa.copy %owner to %owners : tensor<?xi32> to memref<?xi32>
  nsa.copy %total to %totals : tensor<?xi32> to memref<?xi32>
  nsa.copy %rank to %ranks : tensor<?x64xi32> to memref<?x64xi32>
  nsa.copy %max to %most : tensor<1xi32> to memref<1xi32>
}

// CHECK-LABEL: nsa.step @parts
nsa.step @parts(
    in %n : index, in %parts : index,
    in %counts[%n] : tensor<?xi32>,
    out %begins : memref<?xi32>,
    out %last : memref<1xi32>) {
  %off = nsa.scan %counts : tensor<?xi32> -> tensor<?xi32>
  // CHECK: nsa.iterate(%[[I:.*]], %[[X:.*]]) in (%parts) from -7 : tensor<?xi32> {
  // CHECK: nsa.yield %{{.*}} : i32
  %x = nsa.iterate(%i, %x) in (%parts) from -7 : tensor<?xi32> {
    %size = arith.constant 64 : i32
    %goal = arith.addi %x, %size : i32
    %place = arith.index_cast %goal : i32 to index
    %after = nsa.search %off for %place : tensor<?xi32>
    %end = nsa.read %off[%after] else %goal : tensor<?xi32>
    nsa.yield %end : i32
  }
  nsa.copy %x to %begins : tensor<?xi32> to memref<?xi32>
  %most = nsa.reduce max %x : tensor<?xi32> -> tensor<1xi32>
  nsa.copy %most to %last : tensor<1xi32> to memref<1xi32>
}
