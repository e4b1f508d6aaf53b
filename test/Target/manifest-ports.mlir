// The manifest has extents with constants, and what is known of the arrays.
//
// RUN: nsa-compile %s -o %t --emit=manifest && FileCheck %s --input-file=%t/step.json

// CHECK: "ptx": "step.ptx"
// CHECK: "name": "cu"
// CHECK: "extents": [
// CHECK-NEXT: [
// CHECK-NEXT: "add",
// CHECK-NEXT: "bs",
// CHECK-NEXT: 1
// CHECK: "alignment": 4
// CHECK: "name": "tab"
// CHECK: "strides": [
// CHECK-NEXT: 4096,
// CHECK-NEXT: 1
// CHECK: "alignment": 16
// CHECK: "name": "e"
// CHECK: "alignment": 32
// CHECK: "requires": [
// CHECK: "argument": "cu",
// CHECK-NEXT: "dim": 0,
// CHECK-NEXT: "at_least": [
// CHECK-NEXT: "add",
// CHECK-NEXT: "bs",
// CHECK-NEXT: 1
nsa.step @step(in %bs : index, in %cu[%bs + 1] : tensor<?xi32>,
               in %tab[%bs, ?] : tensor<?x?xi32> {alignment = 16, layout = strided<[4096, 1]>},
               out %d : memref<?xi32>, out %e : memref<?x?xi32, strided<[?, 1]>> {alignment = 32}) {
  nsa.copy %cu from 1 to %d : tensor<?xi32> to memref<?xi32>
  nsa.copy %tab to %e : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
}

// Arrays are parameters in the order in which formulas read them, before what
// is written; the number of rows comes last.
//
// RUN: FileCheck %s --input-file=%t/order.json --check-prefix=ORDER
// ORDER: "parameters": [
// ORDER-NEXT: {
// ORDER-NEXT: "field": "pointer",
// ORDER-NEXT: "argument": "places"
// ORDER: "field": "pointer",
// ORDER-NEXT: "argument": "rows"
// ORDER: "field": "pointer",
// ORDER-NEXT: "argument": "table"
// ORDER: "field": "pointer",
// ORDER-NEXT: "argument": "out"
// ORDER: "field": "value",
// ORDER-NEXT: "argument": "n"
// ORDER: "segments"
nsa.step @order(in %n : index, in %table : tensor<?x?xi32>, in %rows[%n] : tensor<?xi32>,
                in %places[%n, ?] : tensor<?x2048xi32>, out %out : memref<?x?xi32, strided<[?, 1]>>) {
  %0 = nsa.map(%r, %c) in (%n, 2048) : tensor<?x2048xi32> {
    %none = arith.constant -1 : i32
    %place = nsa.read %places[%r, %c] : tensor<?x2048xi32>
    %column = arith.index_cast %place : i32 to index
    %row32 = nsa.read %rows[%r] : tensor<?xi32>
    %row = arith.index_cast %row32 : i32 to index
    %x = nsa.read %table[%row, %column] else %none : tensor<?x?xi32>
    nsa.yield %x : i32
  }
  nsa.copy %0 to %out : tensor<?x2048xi32> to memref<?x?xi32, strided<[?, 1]>>
}
