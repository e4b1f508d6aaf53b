// Ports and operations have the places of what wrote them: diagnostics name these.
//
// RUN: nsa-opt %s --mlir-print-debuginfo --mlir-print-local-scope | FileCheck %s
// RUN: nsa-opt %s --mlir-print-debuginfo | nsa-opt --mlir-print-debuginfo \
// RUN:     --mlir-print-local-scope | FileCheck %s
// RUN: sed 's/memref<?xi32>/memref<?xf64>/' %s | not nsa-opt 2>&1 \
// RUN:     | FileCheck %s --check-prefix=ERROR

// CHECK: in %n loc("step.py":1:2) : index,
// CHECK-SAME: in %a loc("step.py":3:4)[%n] : tensor<?xi32> {alignment = 16 : i64},
// CHECK-SAME: out %b loc("step.py":5:6) : memref<?xi32>)
// CHECK: nsa.read %a[%{{.*}}] : tensor<?xi32> loc("step.py":7:8)
// CHECK: nsa.yield %{{.*}} : i32 loc("step.py":9:10)
// CHECK-NEXT: } loc("step.py":11:12)
// CHECK: nsa.copy {{.*}} loc("step.py":13:14)
// CHECK: } loc("step.py":15:16)
// ERROR: step.py:5:6: error: 'nsa.step' op expected 'out' port 'b'
nsa.step @step(in %n loc("step.py":1:2) : index,
               in %a loc("step.py":3:4)[%n] : tensor<?xi32> {alignment = 16},
               out %b loc("step.py":5:6) : memref<?xi32>) {
  %x = nsa.map(%r) in (%n) : tensor<?xi32> {
    %e = nsa.read %a[%r] : tensor<?xi32> loc("step.py":7:8)
    nsa.yield %e : i32 loc("step.py":9:10)
  } loc("step.py":11:12)
  nsa.copy %x to %b : tensor<?xi32> to memref<?xi32> loc("step.py":13:14)
} loc("step.py":15:16)
