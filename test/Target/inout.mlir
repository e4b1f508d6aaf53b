// An array that is read and written: the manifest says so, the header's comment, too, and the kernel neither loads it
// as what nobody writes nor takes its size.
//
// RUN: rm -rf %t && nsa-compile %s -o %t
// RUN: FileCheck %s --input-file=%t/counted.json
// RUN: FileCheck %s --input-file=%t/counted.h --check-prefix=HEADER
// RUN: FileCheck %s --input-file=%t/counted.ptx --check-prefix=PTX

// CHECK: "name": "counts"
// CHECK-NEXT: "kind": "out"
// CHECK: "access": "inout"
// CHECK: "at_least": "n"
// CHECK-NOT: "field": "size"

// HEADER: nsa_view counts; /* inout, int32, rank 1 */
// HEADER: {"counts", NSA_KIND_OUT,

// PTX-NOT: ld.global.nc
// PTX: ld.global.v4.b32
// PTX: st.global.v4.b32
nsa.step @counted(in %n : index, inout %counts : memref<?xi32>) {
  %v = nsa.map(%r) in (%n) : tensor<?xi32> {
    %one = arith.constant 1 : i32
    %old = nsa.read %counts[%r] : memref<?xi32>
    %new = arith.addi %old, %one : i32
    nsa.yield %new : i32
  }
  nsa.copy %v to %counts : tensor<?xi32> to memref<?xi32>
}
