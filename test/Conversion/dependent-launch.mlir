// Kernels of a step with `pdl` wait for the kernel before them, first of all and
// in every thread, and let the one after them begin.
//
// RUN: nsa-opt %s --nsa-form-launches --nsa-assign-tiles --nsa-launch-to-gpu | FileCheck %s
// RUN: nsa-opt %s --nsa-form-launches --nsa-assign-tiles --nsa-launch-to-gpu --nsa-flatten-kernel-args \
// RUN:   | FileCheck %s --check-prefix=FLAT
// RUN: not nsa-opt %s --nsa-form-launches --nsa-assign-tiles --nsa-launch-to-gpu --nsa-attach-target=chip=sm_89 2>&1 \
// RUN:   | FileCheck %s --check-prefix=OLD
// RUN: nsa-opt %s --nsa-form-launches --nsa-assign-tiles --nsa-launch-to-gpu --nsa-attach-target=chip=sm_90a \
// RUN:   | FileCheck %s --check-prefix=NEW

// NEW: #nvvm.target<O = 3, chip = "sm_90a">
// OLD: dependent-launch.mlir:[[#@LINE+21]]:3: error: programmatic dependent launch ('pdl') needs sm_90 or later, but the chip is 'sm_89'

// CHECK-LABEL: gpu.func @step_d
// CHECK-SAME: nsa.dependent_launch
// CHECK-NOT: {{scf|memref[.](load|store)|vector}}
// CHECK: llvm.inline_asm has_side_effects{{.*}} "griddepcontrol.wait;", "~{memory}"
// CHECK-NEXT: llvm.inline_asm has_side_effects{{.*}} "griddepcontrol.launch_dependents;", "~{memory}"
// CHECK: memref.load
// CHECK-LABEL: gpu.func @step_e
// CHECK: "griddepcontrol.wait;"
// CHECK-LABEL: gpu.func @without_d
// CHECK-NOT: griddepcontrol

// What the kernel before may write is not read through the read-only path.
// FLAT-LABEL: gpu.func @step_d
// FLAT-NOT: llvm.readonly
// FLAT-LABEL: gpu.func @without_d
// FLAT-SAME: {llvm.noalias, llvm.readonly}
nsa.step @step(in %bs : index, in %s[%bs] : tensor<?xi32>, out %d : memref<?xi32>, out %e : memref<?xi32>)
    attributes {pdl} {
  %sums = nsa.cu_seqlens %s : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %s to %d : tensor<?xi32> to memref<?xi32>
  nsa.copy %sums to %e : tensor<?xi32> to memref<?xi32>
}

nsa.step @without(in %bs : index, in %s[%bs] : tensor<?xi32>, out %d : memref<?xi32>) {
  nsa.copy %s to %d : tensor<?xi32> to memref<?xi32>
}
