// RUN: nsa-opt %s --nsa-drop-wrap-flags | FileCheck %s

// Offsets may count downwards from an address, so nothing is promised of them.
// CHECK-LABEL: llvm.func @address(
// CHECK-NEXT: %[[SCALED:.*]] = llvm.mul %{{.*}}, %{{.*}} : i64
// CHECK-NEXT: %[[OFFSET:.*]] = llvm.add %[[SCALED]], %{{.*}} : i64
// CHECK-NEXT: %[[ADDRESS:.*]] = llvm.getelementptr %{{.*}}[%[[OFFSET]]] : (!llvm.ptr, i64) -> !llvm.ptr, i32
// CHECK-NEXT: llvm.return %[[ADDRESS]]
llvm.func @address(%array : !llvm.ptr, %stride : i64, %row : i64, %column : i64) -> !llvm.ptr {
  %scaled = llvm.mul %row, %stride overflow<nsw, nuw> : i64
  %offset = llvm.add %scaled, %column overflow<nsw, nuw> : i64
  %address = llvm.getelementptr inbounds|nuw %array[%offset] : (!llvm.ptr, i64) -> !llvm.ptr, i32
  llvm.return %address : !llvm.ptr
}
