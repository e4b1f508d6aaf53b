// Text and bytecode say the same, before and after launches are formed.

// RUN: nsa-opt %examples/decode_replay.mlir -o %t.mlir
// RUN: nsa-opt %t.mlir --emit-bytecode -o %t.mlirbc
// RUN: nsa-opt %t.mlirbc | diff %t.mlir -

// RUN: nsa-opt %s -o %t.launch.mlir
// RUN: nsa-opt %s --emit-bytecode | nsa-opt | diff %t.launch.mlir -
// RUN: FileCheck %s --input-file %t.launch.mlir

// Bytecode is an input of nsa-compile like any other.
// RUN: rm -rf %t.text %t.bytecode
// RUN: nsa-compile %t.mlir -o %t.text
// RUN: nsa-compile %t.mlirbc -o %t.bytecode
// RUN: diff -r %t.text %t.bytecode

// CHECK: nsa.step @lengths(in %bs : index, in %seq_lens[%bs] : tensor<?xi64>, out %lens : memref<?xi32>)
// CHECK: nsa.segment tile(%bs)
nsa.step @lengths(in %bs : index, in %seq_lens[%bs] : tensor<?xi64>,
                  out %lens : memref<?xi32>) {
  nsa.launch @lengths {
    nsa.segment tile(%bs) {
      %len = nsa.seqlens %seq_lens plus 1 : tensor<?xi64> -> tensor<?xi32>
      nsa.copy %len to %lens : tensor<?xi32> to memref<?xi32>
    }
  }
}
