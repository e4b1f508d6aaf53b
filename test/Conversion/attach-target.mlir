// RUN: nsa-opt %s --nsa-attach-target | FileCheck %s --check-prefixes=CHECK,DEFAULT
// RUN: nsa-opt %s --nsa-attach-target=chip=sm_90a | FileCheck %s --check-prefixes=CHECK,SM90A
// RUN: not nsa-opt %s --nsa-attach-target=chip=sm_75 2>&1 | FileCheck %s --check-prefix=OLD
// RUN: not nsa-opt %s --nsa-attach-target=chip=gfx942 2>&1 | FileCheck %s --check-prefix=OTHER

// DEFAULT: gpu.module @step [#nvvm.target<O = 3, chip = "sm_80">] {
// SM90A: gpu.module @step [#nvvm.target<O = 3, chip = "sm_90a">] {
// OLD: error: unknown chip 'sm_75': expected one of {{.*}}sm_80, {{.*}}sm_90
// OTHER: error: unknown chip 'gfx942': expected one of
gpu.module @step {
  // CHECK: gpu.func @kernel
  gpu.func @kernel() kernel {
    gpu.return
  }
}
