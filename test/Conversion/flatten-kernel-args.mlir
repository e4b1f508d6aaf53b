// RUN: nsa-opt %s --nsa-flatten-kernel-args | FileCheck %s
// RUN: nsa-opt %s --nsa-flatten-kernel-args -o %t.once
// RUN: nsa-opt %t.once --nsa-flatten-kernel-args | diff %t.once -
// RUN: not nsa-opt --nsa-flatten-kernel-args %S/Inputs/unknown-size.mlir 2>&1 | FileCheck %s --check-prefix=SIZE

// SIZE: unknown-size.mlir:5:11: error: 'memref.dim' op reads a size that the kernel is not launched with

// On a GPU the parameters are arguments: for each memref a pointer, the strides
// that its type leaves open, and the sizes that `nsa.sizes` names. An array that
// is only read overlaps no array that is written.
// CHECK-LABEL: gpu.func @kernel(
// CHECK-SAME:    %[[N:[a-z0-9]+]]: i64,
// CHECK-SAME:    %[[A:[a-z0-9]+]]: !llvm.ptr {llvm.noalias, llvm.readonly}, %[[A_STRIDE:[a-z0-9]+]]: i64,
// CHECK-SAME:    %[[B:[a-z0-9]+]]: !llvm.ptr {llvm.noalias, llvm.readonly}, %[[B_STRIDE:[a-z0-9]+]]: i64, %[[B_SIZE:[a-z0-9]+]]: i64,
// CHECK-SAME:    %[[X:[a-z0-9]+]]: !llvm.ptr) kernel
gpu.module @step {
  gpu.func @kernel(%n : index,
                   %a : memref<?xi32, strided<[?]>> {nsa.readonly},
                   %b : memref<?x?xi32, strided<[?, 1]>>
                       {nsa.readonly, nsa.sizes = array<i64: 1>},
                   %x : memref<4x8xi32>) kernel attributes {nsa.kernel} {
    // CHECK: arith.index_cast %[[N]] : i64 to index

    // CHECK: %[[A1:.*]] = llvm.insertvalue %[[A]], %{{.*}}[0]
    // CHECK: %[[A2:.*]] = llvm.insertvalue %[[A]], %[[A1]][1]
    // CHECK: %[[ZERO:.*]] = llvm.mlir.constant(0 : index) : i64
    // CHECK: %[[A3:.*]] = llvm.insertvalue %[[ZERO]], %[[A2]][2]
    // CHECK: %[[A4:.*]] = llvm.insertvalue %[[A_STRIDE]], %[[A3]][4, 0]
    // CHECK: builtin.unrealized_conversion_cast %[[A4]] : {{.*}} to memref<?xi32, strided<[?]>>

    // CHECK: %[[B1:.*]] = llvm.insertvalue %[[B_STRIDE]], %{{.*}}[4, 0]
    // CHECK: %[[ONE:.*]] = llvm.mlir.constant(1 : index) : i64
    // CHECK: %[[B2:.*]] = llvm.insertvalue %[[ONE]], %[[B1]][4, 1]
    // CHECK: %[[B3:.*]] = llvm.insertvalue %[[B_SIZE]], %[[B2]][3, 1]
    // CHECK: builtin.unrealized_conversion_cast %[[B3]] : {{.*}} to memref<?x?xi32, strided<[?, 1]>>

    // Strides and sizes that the type knows are constants.
    // CHECK: %[[X1:.*]] = llvm.insertvalue %[[X]], %{{.*}}[1]
    // CHECK: llvm.mlir.constant(8 : index)
    // CHECK: llvm.insertvalue %{{.*}}[4, 0]
    // CHECK: llvm.mlir.constant(1 : index)
    // CHECK: llvm.insertvalue %{{.*}}[4, 1]
    // CHECK: llvm.mlir.constant(4 : index)
    // CHECK: llvm.insertvalue %{{.*}}[3, 0]
    // CHECK: llvm.mlir.constant(8 : index)
    // CHECK: %[[X2:.*]] = llvm.insertvalue %{{.*}}[3, 1]
    // CHECK: %[[MEMREF:.*]] = builtin.unrealized_conversion_cast %[[X2]] : {{.*}} to memref<4x8xi32>
    // CHECK: memref.store %{{.*}}, %[[MEMREF]]
    %zero = arith.constant 0 : i32
    memref.store %zero, %x[%n, %n] : memref<4x8xi32>
    gpu.return
  }
}

// On the host they are behind one pointer: entry i of an array points at
// parameter i.
// CHECK-LABEL: func.func @step.kernel(
// CHECK-SAME:    %[[PARAMETERS:[a-z0-9]+]]: !llvm.ptr) {
func.func @step.kernel(%n : index, %a : memref<?xi32, strided<[?]>>)
    attributes {nsa.kernel} {
  // CHECK-NEXT: %[[ENTRY0:.*]] = llvm.getelementptr %[[PARAMETERS]][0]
  // CHECK-NEXT: %[[ADDRESS0:.*]] = llvm.load %[[ENTRY0]] : !llvm.ptr -> !llvm.ptr
  // CHECK-NEXT: %[[PARAMETER0:.*]] = llvm.load %[[ADDRESS0]] : !llvm.ptr -> i64
  // CHECK-NEXT: arith.index_cast %[[PARAMETER0]] : i64 to index
  // CHECK:      llvm.getelementptr %[[PARAMETERS]][1]
  // CHECK:      llvm.load %{{.*}} : !llvm.ptr -> !llvm.ptr
  // CHECK:      llvm.load %{{.*}} : !llvm.ptr -> !llvm.ptr
  // CHECK:      llvm.getelementptr %[[PARAMETERS]][2]
  // CHECK:      llvm.load %{{.*}} : !llvm.ptr -> !llvm.ptr
  // CHECK:      llvm.load %{{.*}} : !llvm.ptr -> i64
  // CHECK-NOT:  llvm.getelementptr
  // CHECK:      return
  %zero = arith.constant 0 : i32
  memref.store %zero, %a[%n] : memref<?xi32, strided<[?]>>
  return
}

// A function without a body is no kernel.
// CHECK-LABEL: func.func private @declared(memref<?xi32>)
func.func private @declared(memref<?xi32>)
