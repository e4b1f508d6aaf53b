// What the text states is not checked when the kernel runs.
//
// RUN: nsa-opt %s --split-input-file --nsa-form-launches --nsa-assign-tiles --nsa-launch-to-gpu --canonicalize | FileCheck %s

// Base and stride are known to be aligned: no address is looked at.
// CHECK-LABEL: gpu.func @known
// CHECK-NOT: extract_aligned_pointer
// CHECK: vector.load {{.*}} {alignment = 16 : i64}
// CHECK-NOT: extract_aligned_pointer
// CHECK: vector.store {{.*}} {alignment = 16 : i64}
nsa.step @known(in %bs : index, in %n : index,
                in %x[%bs, %n] : tensor<?x?xi32> {alignment = 16, layout = strided<[4096, 1]>},
                out %d : memref<?x?xi32, strided<[8192, 1]>> {alignment = 16}) {
  nsa.copy %x to %d : tensor<?x?xi32> to memref<?x?xi32, strided<[8192, 1]>>
}

// -----

// With static columns as well, there are no scalar stores.
// CHECK-LABEL: gpu.func @whole
// CHECK: vector.store
// CHECK-NOT: memref.store
nsa.step @whole(in %bs : index, in %x[%bs, ?] : tensor<?x4096xi32> {alignment = 16, layout = strided<[4096, 1]>},
                out %d : memref<?x4096xi32> {alignment = 16}) {
  nsa.copy %x to %d : tensor<?x4096xi32> to memref<?x4096xi32>
}

// -----

// A row stride that is no multiple of a vector: every row is looked at.
// CHECK-LABEL: gpu.func @odd
// CHECK: arith.andi
// CHECK: vector.store
// CHECK: memref.store
nsa.step @odd(in %bs : index, in %n : index, in %x[%bs, %n] : tensor<?x?xi32>,
              out %d : memref<?x?xi32, strided<[4097, 1]>> {alignment = 16}) {
  nsa.copy %x to %d : tensor<?x?xi32> to memref<?x?xi32, strided<[4097, 1]>>
}

// -----

// Nothing is known.
// CHECK-LABEL: gpu.func @unknown
// CHECK-COUNT-2: memref.extract_aligned_pointer_as_index
nsa.step @unknown(in %bs : index, in %n : index, in %x[%bs, %n] : tensor<?x?xi32>,
                  out %d : memref<?x?xi32, strided<[?, 1]>>) {
  nsa.copy %x to %d : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
}
