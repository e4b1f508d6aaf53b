// RUN: nsa-opt %s --nsa-attach-target | FileCheck %s --check-prefixes=CHECK,DEFAULT
// RUN: nsa-opt %s --nsa-attach-target=chip=sm_90a | FileCheck %s --check-prefixes=CHECK,SM90A
// RUN: not nsa-opt %s --nsa-attach-target=chip=sm_75 2>&1 | FileCheck %s --check-prefix=OLD
// RUN: not nsa-opt %s --nsa-attach-target=chip=gfx942 2>&1 | FileCheck %s --check-prefix=OTHER
// RUN: echo 'module attributes {nsa.target = #nsa.target<warp = 64, threads = 256, vectors = 1, access_bytes = 16, shared_bytes = 65536, tile_bytes = 49152, parameter_bytes = 4096, in_flight_bytes = 1, resident_threads = 1>} {}' > %t.mlir
// RUN: not nsa-opt %t.mlir --nsa-attach-target 2>&1 | FileCheck %s --check-prefix=WARPS

// DEFAULT: gpu.module @step [#nvvm.target<O = 3, chip = "sm_80">] {
// SM90A: gpu.module @step [#nvvm.target<O = 3, chip = "sm_90a">] {
// OLD: error: unknown chip 'sm_75': expected one of {{.*}}sm_80, {{.*}}sm_90
// WARPS: error: expected 'nsa.target' to have warps of 32 threads, as 'sm_80' has, but got 64
// OTHER: error: unknown chip 'gfx942': expected one of
gpu.module @step {
  // CHECK: gpu.func @kernel
  gpu.func @kernel() kernel {
    gpu.return
  }
}
