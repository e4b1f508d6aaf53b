// The arithmetic of formulas has a result for everything.

// RUN: nsa-opt %s --nsa-assign-tiles --nsa-launch-to-loops --canonicalize | FileCheck %s

// By 0: 0. The smallest number by -1: by 1.
// CHECK-LABEL: func.func @divide
// CHECK:         %[[X:.*]] = scf.if
// CHECK:           memref.load %arg1
// CHECK:         %[[Y:.*]] = scf.if
// CHECK:           memref.load %arg2
// CHECK-DAG:     %[[ZERO:.*]] = arith.cmpi eq, %[[Y]], %c0_i32
// CHECK-DAG:     %[[SMALLEST:.*]] = arith.cmpi eq, %[[X]], %c-2147483648_i32
// CHECK-DAG:     %[[MINUS_ONE:.*]] = arith.cmpi eq, %[[Y]], %c-1_i32
// CHECK:         %[[OVERFLOWS:.*]] = arith.andi %[[SMALLEST]], %[[MINUS_ONE]]
// CHECK:         %[[REPLACED:.*]] = arith.ori %[[ZERO]], %[[OVERFLOWS]]
// CHECK:         %[[DIVISOR:.*]] = arith.select %[[REPLACED]], %c1_i32, %[[Y]]
// CHECK:         %[[QUOTIENT:.*]] = arith.divsi %[[X]], %[[DIVISOR]]
// CHECK:         %[[RESULT:.*]] = arith.select %[[ZERO]], %c0_i32, %[[QUOTIENT]]
// CHECK:         memref.store %[[RESULT]]
nsa.step @divide(in %n : index, in %a[%n] : tensor<?xi32>, in %b[%n] : tensor<?xi32>,
                 out %x : memref<?xi32, strided<[2]>>) {
  nsa.launch @divide {
    nsa.segment tile(%n) {
      %value = nsa.map(%r) in (%n) : tensor<?xi32> {
        %lhs = nsa.read %a[%r] : tensor<?xi32>
        %rhs = nsa.read %b[%r] : tensor<?xi32>
        %quotient = arith.divsi %lhs, %rhs : i32
        nsa.yield %quotient : i32
      }
      nsa.copy %value to %x : tensor<?xi32> to memref<?xi32, strided<[2]>>
    }
  }
}

// By the width or more: all bits are shifted out.
// CHECK-LABEL: func.func @shift
// CHECK:         %[[INSIDE:.*]] = arith.cmpi ule, %[[BY:.*]], %c31_i32
// CHECK:         %[[AMOUNT:.*]] = arith.select %[[INSIDE]], %[[BY]], %c0_i32
// CHECK:         %[[SHIFTED:.*]] = arith.shli %{{.*}}, %[[AMOUNT]]
// CHECK:         arith.select %[[INSIDE]], %[[SHIFTED]], %c0_i32
nsa.step @shift(in %n : index, in %a[%n] : tensor<?xi32>,
                out %x : memref<?xi32, strided<[2]>>) {
  nsa.launch @shift {
    nsa.segment tile(%n) {
      %value = nsa.map(%r) in (%n) : tensor<?xi32> {
        %lhs = nsa.read %a[%r] : tensor<?xi32>
        %shifted = arith.shli %lhs, %lhs : i32
        nsa.yield %shifted : i32
      }
      nsa.copy %value to %x : tensor<?xi32> to memref<?xi32, strided<[2]>>
    }
  }
}

// A read that may be outside is a branch; a negative index is too large.
// CHECK-LABEL: func.func @gather
// CHECK:         %[[INDEX:.*]] = arith.index_cast %{{.*}} : i64 to index
// CHECK:         %[[INSIDE:.*]] = arith.cmpi ult, %[[INDEX]], %{{.*}} : index
// CHECK:         scf.if %[[INSIDE]] -> (i32) {
// CHECK:           memref.load %{{.*}}[%[[INDEX]]]
// CHECK:         } else {
// CHECK:           scf.yield %c-1_i32
nsa.step @gather(in %n : index, in %map : tensor<?xi32>, in %a[%n] : tensor<?xi64>,
                 out %x : memref<?xi32, strided<[2]>>) {
  nsa.launch @gather {
    nsa.segment tile(%n) {
      %value = nsa.map(%r) in (%n) : tensor<?xi32> {
        %none = arith.constant -1 : i32
        %place = nsa.read %a[%r] : tensor<?xi64>
        %index = arith.index_cast %place : i64 to index
        %element = nsa.read %map[%index] else %none : tensor<?xi32>
        nsa.yield %element : i32
      }
      nsa.copy %value to %x : tensor<?xi32> to memref<?xi32, strided<[2]>>
    }
  }
}
