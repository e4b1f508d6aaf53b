// Shapes follow from the module's target: warps of 64 threads, blocks of 256,
// accesses of 8 bytes, and few bytes of parameters. A launch may have another
// number of threads.

// RUN: nsa-opt %s --nsa-form-launches=per-copy --cse --nsa-fuse-launches --nsa-assign-tiles | FileCheck %s
// RUN: nsa-opt %s --nsa-form-launches=per-copy --cse --nsa-fuse-launches --nsa-assign-tiles --nsa-launch-to-gpu | FileCheck %s --check-prefix=GPU
// RUN: nsa-opt %s --nsa-to-llvm | FileCheck %s --check-prefix=HOST

// CHECK-LABEL: nsa.step @cut
// CHECK: nsa.launch @cut_0 threads(256)
// CHECK: nsa.segment scan(%n)
// CHECK: nsa.launch @cut_1 threads(256)
// CHECK: nsa.segment tile(%n, %m) tiling <tile, rows = 1, columns = 512, width = 2, vectors = 1>
// CHECK-LABEL: nsa.step @stated
// CHECK: nsa.launch @stated threads(64)
// CHECK: nsa.segment tile(%n) tiling <tile, rows = 1, columns = 128, width = 2, vectors = 1>

// Four warps, and shuffles as wide as they are, whose own answer to whether
// there was a lane to take from nobody uses.
// GPU: gpu.func @cut_0({{.*}}) workgroup({{.*}} : memref<2x1x4xi32, #gpu.address_space<workgroup>>
// GPU-SAME: known_block_size = array<i32: 256, 1, 1>
// GPU: arith.constant 64 : i32
// GPU: %{{.*}}, %[[ANSWER:.*]] = gpu.shuffle up %{{.*}}, %{{.*}}, %c64_i32
// GPU-NOT: %[[ANSWER]],
// GPU: gpu.func @stated
// GPU-SAME: known_block_size = array<i32: 64, 1, 1>

// Nor adds one instruction up over a warp.
// GPU: gpu.func @summed
// GPU-NOT: gpu.subgroup_reduce
// GPU-COUNT-6: gpu.shuffle xor

// HOST: llvm.func @cut.cut_0
module attributes {nsa.target = #nsa.target<
    warp = 64, threads = 256, vectors = 1, access_bytes = 8,
    shared_bytes = 65536, tile_bytes = 49152, parameter_bytes = 48,
    in_flight_bytes = 3000000, resident_threads = 200000>} {
  nsa.step @cut(in %n : index, in %m : index, in %t[%n, %m] : tensor<?x?xi32>,
                in %lens[%n] : tensor<?xi32>,
                out %cu : memref<?xi32>, out %a : memref<?x?xi32, strided<[?, 1]>>) {
    %sums = nsa.cu_seqlens %lens : tensor<?xi32> -> tensor<?xi32>
    nsa.copy %sums to %cu : tensor<?xi32> to memref<?xi32>
    nsa.copy %t to %a : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
  }
  nsa.step @stated(in %n : index, in %v[%n] : tensor<?xi32>, out %a : memref<?xi32>) {
    nsa.launch @stated threads(64) {
      nsa.segment tile(%n) {
        nsa.copy %v to %a : tensor<?xi32> to memref<?xi32>
      }
    }
  }
  nsa.step @summed(in %n : index, in %v[%n] : tensor<?xi32>, out %a : memref<1xi32>) {
    %sum = nsa.reduce add %v : tensor<?xi32> -> tensor<1xi32>
    %one = nsa.map(%i) in (1) : tensor<1xi32> {
      %all = nsa.read %sum[%i] : tensor<1xi32>
      nsa.yield %all : i32
    }
    nsa.copy %one to %a : tensor<1xi32> to memref<1xi32>
  }
}
