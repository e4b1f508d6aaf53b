// Kernels compute with 32 bits where ranges allow it.

// RUN: nsa-opt %s --split-input-file --nsa-narrow-arithmetic --canonicalize --cse | FileCheck %s

// A size that the kernel is launched with is less than 2^31. An index that comes
// from 32 bits can be one of the first 2^31 elements alone.
// CHECK-LABEL: gpu.func @known
// CHECK-SAME:  (%[[N:[^:]*]]: index, %[[A:[^:]*]]: memref<?xi32>)
// CHECK:       %[[VALUE:.*]] = memref.load %[[A]][%c0]
// CHECK:       %[[PAGE:.*]] = arith.shrsi %[[VALUE]], %{{.*}} : i32
// CHECK:       %[[INDEX:.*]] = arith.index_cast %[[PAGE]] : i32 to index
// CHECK:       %[[SIZE:.*]] = arith.index_cast %[[N]] : index to i32
// CHECK:       arith.cmpi slt, %[[VALUE]], %[[SIZE]] : i32
// CHECK:       %[[FIRST:.*]] = arith.minui %{{.*}}, %c2147483648 : index
// CHECK:       %[[BOUND:.*]] = arith.index_cast %[[FIRST]] : index to i32
// CHECK:       arith.cmpi ult, %[[PAGE]], %[[BOUND]] : i32
// CHECK:       memref.store %[[VALUE]], %[[A]][%[[INDEX]]]
gpu.module @module {
  gpu.func @known(%n: index, %a: memref<?xi32>) kernel {
    %c0 = arith.constant 0 : index
    %c6 = arith.constant 6 : index
    %size = memref.dim %a, %c0 : memref<?xi32>
    %value = memref.load %a[%c0] : memref<?xi32>
    %index = arith.index_cast %value : i32 to index
    %page = arith.shrsi %index, %c6 : index
    %isLess = arith.cmpi slt, %index, %n : index
    %isInside = arith.cmpi ult, %page, %size : index
    %both = arith.andi %isLess, %isInside : i1
    scf.if %both {
      memref.store %value, %a[%page] : memref<?xi32>
    }
    gpu.return
  }
}

// -----

// What is of 64 bits stays so, as do sums that may leave 32, and what else is
// asked of a dimension.
// CHECK-LABEL: gpu.func @wide
// CHECK-NOT:   arith.minui
// CHECK:       arith.cmpi ult, %{{.*}}, %{{.*}} : index
// CHECK:       arith.cmpi slt, %{{.*}}, %{{.*}} : index
// CHECK:       arith.addi %{{.*}} : index
// CHECK:       gpu.return
gpu.module @module {
  gpu.func @wide(%a: memref<?xi64>, %b: memref<?xi32>) kernel {
    %c0 = arith.constant 0 : index
    %size = memref.dim %a, %c0 : memref<?xi64>
    %value = memref.load %a[%c0] : memref<?xi64>
    %index = arith.index_cast %value : i64 to index
    %isInside = arith.cmpi ult, %index, %size : index
    %other = memref.load %b[%c0] : memref<?xi32>
    %narrow = arith.index_cast %other : i32 to index
    %isLess = arith.cmpi slt, %narrow, %size : index
    %sum = arith.addi %narrow, %narrow : index
    %both = arith.andi %isLess, %isInside : i1
    scf.if %both {
      memref.store %value, %a[%sum] : memref<?xi64>
    }
    gpu.return
  }
}

// -----

// Signed minima of what 32 bits without a sign hold, unsigned remainders of what
// may be negative, and shifts by more bits than 31 have 64 bits; upstream's
// `arith-int-range-narrowing` of LLVM 22 gives them 32. So has a remainder of
// what may be -2^31 by what may be -1.
// CHECK-LABEL: gpu.func @traps
// CHECK:       arith.minsi %{{.*}} : index
// CHECK:       arith.remui %{{.*}} : index
// CHECK:       arith.shrsi %{{.*}} : index
// CHECK:       arith.remui %{{.*}} : i32
// CHECK:       arith.remsi %{{.*}} : index
// CHECK:       arith.remsi %{{.*}} : i32
// What is no kernel is left alone.
// CHECK:       func.func @host
// CHECK:       arith.addi %{{.*}} : index
gpu.module @module {
  gpu.func @traps(%a: memref<?xi32>, %b: memref<?xindex>) kernel {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %c2 = arith.constant 2 : index
    %c3 = arith.constant 3 : index
    %c7 = arith.constant 7 : index
    %c63 = arith.constant 63 : index
    %value = memref.load %a[%c0] : memref<?xi32>
    %unsigned = arith.index_castui %value : i32 to index
    %signed = arith.index_cast %value : i32 to index
    %least = arith.minsi %unsigned, %c7 : index
    %rest = arith.remui %signed, %c7 : index
    %bits = arith.andi %signed, %c63 : index
    %shifted = arith.shrsi %c7, %bits : index
    %place = arith.remui %bits, %c7 : index
    %by_any = arith.remsi %signed, %signed : index
    %by_seven = arith.remsi %signed, %c7 : index
    memref.store %by_any, %b[%c7] : memref<?xindex>
    memref.store %by_seven, %b[%c63] : memref<?xindex>
    memref.store %least, %b[%c0] : memref<?xindex>
    memref.store %rest, %b[%c1] : memref<?xindex>
    memref.store %shifted, %b[%c2] : memref<?xindex>
    memref.store %place, %b[%c3] : memref<?xindex>
    gpu.return
  }
}
func.func @host(%x: i8, %y: i8) -> index {
  %a = arith.index_cast %x : i8 to index
  %b = arith.index_cast %y : i8 to index
  %sum = arith.addi %a, %b : index
  return %sum : index
}
