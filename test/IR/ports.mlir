// Extents with constants and what is known of arrays, printed and parsed again.
//
// RUN: nsa-opt %s | nsa-opt | FileCheck %s
// RUN: nsa-opt %s --emit-bytecode | nsa-opt | FileCheck %s

// CHECK: nsa.step @ports(in %bs : index, in %n : index,
// CHECK-SAME: in %cu[%bs + 1] : tensor<?xi32>,
// CHECK-SAME: in %tab[%bs, ?] : tensor<?x?xi32> {alignment = 16 : i64, layout = strided<[4096, 1]>},
// CHECK-SAME: out %d : memref<?xi32> {alignment = 16 : i64},
// CHECK-SAME: out %e : memref<?x?xi32, strided<[?, 1]>>) {
nsa.step @ports(in %bs : index, in %n : index, in %cu[%bs + 1] : tensor<?xi32>,
                in %tab[%bs, ?] : tensor<?x?xi32> {alignment = 16, layout = strided<[4096, 1]>},
                out %d : memref<?xi32> {alignment = 16},
                out %e : memref<?x?xi32, strided<[?, 1]>>) {
  // CHECK: nsa.copy %cu from 1 to %d : tensor<?xi32> to memref<?xi32>
  nsa.copy %cu from 1 to %d : tensor<?xi32> to memref<?xi32>
  // CHECK: nsa.copy %tab to %e : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
  nsa.copy %tab from 0 to %e : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
}

// CHECK: in %src[%bs, %max_len] : !nsa.metadata<decode>,
// CHECK-SAME: in %few[%bs, %max_len] : !nsa.metadata<decode, only [cu_seqlens_k]>,
// CHECK-SAME: out %b0 : !nsa.metadata_ref<decode>,
// CHECK-SAME: out %b1 : !nsa.metadata_ref<decode, only [cu_seqlens_k]>)
nsa.step @sets(in %bs : index, in %max_len : index, in %src[%bs, %max_len] : !nsa.metadata<decode>,
               in %few[%bs, %max_len] : !nsa.metadata<decode, only [cu_seqlens_k]>,
               out %b0 : !nsa.metadata_ref<decode, []>,
               out %b1 : !nsa.metadata_ref<decode, only [cu_seqlens_k]>) {
  // CHECK: nsa.copy_metadata %src to %b0 : !nsa.metadata<decode> to !nsa.metadata_ref<decode>
  nsa.copy_metadata %src to %b0 : !nsa.metadata<decode> to !nsa.metadata_ref<decode>
  nsa.copy_metadata %few to %b1 : !nsa.metadata<decode, only [cu_seqlens_k]>
      to !nsa.metadata_ref<decode, only [cu_seqlens_k]>
}

// An array that is read and written keeps its word and its type.
// CHECK-LABEL: nsa.step @counted
// CHECK-SAME: inout %counts : memref<?xi32> {alignment = 16 : i64}
// CHECK: nsa.read %counts[%r] : memref<?xi32>
nsa.step @counted(in %n : index, inout %counts : memref<?xi32> {alignment = 16}) {
  %v = nsa.map(%r) in (%n) : tensor<?xi32> {
    %one = arith.constant 1 : i32
    %old = nsa.read %counts[%r] : memref<?xi32>
    %new = arith.addi %old, %one : i32
    nsa.yield %new : i32
  }
  nsa.copy %v to %counts : tensor<?xi32> to memref<?xi32>
}
