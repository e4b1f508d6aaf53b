// RUN: rm -rf %t && nsa-compile %s -o %t && FileCheck %s < %t/bounds.ptx

// What ptxas makes of `max.s16` with a constant, and of a comparison with the
// constant, gives wrong numbers (docs/Safety.md), so no kernel has one, wherever
// it comes from.

// CHECK-NOT: {{(max|min)\.[su]16}}
// CHECK-DAG: { .reg .b32 %a, %b; cvt.s32.s16 %a, %rs{{[0-9]+}}; cvt.s32.s16 %b, %rs{{[0-9]+}}; max.s32 %a, %a, %b; cvt.u16.u32 %rs{{[0-9]+}}, %a; }
// CHECK-DAG: { .reg .b32 %a, %b; cvt.u32.u16 %a, %rs{{[0-9]+}}; cvt.u32.u16 %b, -5; min.u32 %a, %a, %b; cvt.u16.u32 %rs{{[0-9]+}}, %a; }
// CHECK-DAG: { .reg .b32 %a, %b; cvt.s32.s16 %a, %rs{{[0-9]+}}; cvt.s32.s16 %b, 7; min.s32 %a, %a, %b; cvt.u16.u32 %rs{{[0-9]+}}, %a; }
// CHECK-DAG: { .reg .b32 %a, %b; cvt.u32.u16 %a, %rs{{[0-9]+}}; cvt.u32.u16 %b, 1; max.u32 %a, %a, %b; cvt.u16.u32 %rs{{[0-9]+}}, %a; }
// CHECK-NOT: {{(max|min)\.[su]16}}
nsa.step @bounds(in %n : index, in %a[%n] : tensor<?xi16>,
                 in %b[%n] : tensor<?xi16>, out %larger : memref<?xi16>,
                 out %smaller : memref<?xi16>, out %bytes : memref<?xi8>,
                 out %quotients : memref<?xi16>) {
  %0 = nsa.map(%i) in (%n) : tensor<?xi16> {
    %none = arith.constant 0 : i16
    %x = nsa.read %a[%i] else %none : tensor<?xi16>
    %y = nsa.read %b[%i] else %none : tensor<?xi16>
    %max = arith.maxsi %x, %y : i16
    nsa.yield %max : i16
  }
  %1 = nsa.map(%i) in (%n) : tensor<?xi16> {
    %none = arith.constant 0 : i16
    %bound = arith.constant -5 : i16
    %x = nsa.read %a[%i] else %none : tensor<?xi16>
    %min = arith.minui %x, %bound : i16
    nsa.yield %min : i16
  }
  // Numbers of 8 bits are registers of 16, and comparisons bounds as well.
  %2 = nsa.map(%i) in (%n) : tensor<?xi8> {
    %none = arith.constant 0 : i16
    %bound = arith.constant 7 : i8
    %x = nsa.read %a[%i] else %none : tensor<?xi16>
    %byte = arith.trunci %x : i16 to i8
    %less = arith.cmpi slt, %byte, %bound : i8
    %min = arith.select %less, %byte, %bound : i8
    nsa.yield %min : i8
  }
  // A divisor that is no 0.
  %3 = nsa.map(%i) in (%n) : tensor<?xi16> {
    %none = arith.constant 0 : i16
    %x = nsa.read %a[%i] else %none : tensor<?xi16>
    %y = nsa.read %b[%i] else %none : tensor<?xi16>
    %quotient = arith.divui %x, %y : i16
    nsa.yield %quotient : i16
  }
  nsa.copy %0 to %larger : tensor<?xi16> to memref<?xi16>
  nsa.copy %1 to %smaller : tensor<?xi16> to memref<?xi16>
  nsa.copy %2 to %bytes : tensor<?xi8> to memref<?xi8>
  nsa.copy %3 to %quotients : tensor<?xi16> to memref<?xi16>
}
