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
