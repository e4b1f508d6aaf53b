// RUN: nsa-opt %s --nsa-assign-tiles --nsa-launch-to-gpu --canonicalize --cse | FileCheck %s

// Of a copy to many arrays, four are asked at once whether they are aligned, and
// stored before the next are asked: addresses of all would take registers, and
// fewer blocks would run at a time.
// CHECK-LABEL: gpu.func @kernel(
// CHECK:         vector.load
// CHECK-COUNT-4: memref.extract_aligned_pointer_as_index
// CHECK-NOT:     memref.extract_aligned_pointer_as_index
// CHECK:         scf.if
// CHECK-COUNT-4: vector.store %{{.*}}, %arg{{[2-5]}}[
// CHECK-NOT:     vector.store
// CHECK:       } else {
// CHECK:         memref.extract_aligned_pointer_as_index %arg6
// CHECK-NOT:     memref.extract_aligned_pointer_as_index
// CHECK:         vector.store %{{.*}}, %arg6[
// CHECK:         gpu.return
nsa.step @copy(in %n : index, in %m : index, in %a[%n, %m] : tensor<?x?xi32>,
               out %x0 : memref<?x?xi32>, out %x1 : memref<?x?xi32>, out %x2 : memref<?x?xi32>,
               out %x3 : memref<?x?xi32>, out %x4 : memref<?x?xi32>) {
  nsa.launch @kernel {
    nsa.segment tile(%n, %m) {
      nsa.copy %a to %x0, %x1, %x2, %x3, %x4
          : tensor<?x?xi32> to memref<?x?xi32>, memref<?x?xi32>, memref<?x?xi32>,
            memref<?x?xi32>, memref<?x?xi32>
    }
  }
}
