// RUN: nsa-opt %s | FileCheck %s
// RUN: nsa-opt %s | nsa-opt | FileCheck %s
// RUN: nsa-opt %s --emit-bytecode | nsa-opt | FileCheck %s
// RUN: nsa-opt %s --mlir-print-local-scope | FileCheck %s --check-prefix=LOCAL

// Layouts that have names are printed under them, written out.
// CHECK-DAG: #v32 = #nsa.kv_layout<data_bytes = 656, fields = [e4m3[512] at 0, bf16[64] at 528], scales = f32[4] at 512 per 128 inline, page_multiple = 1>
// CHECK-DAG: #v4 = #nsa.kv_layout<data_bytes = 576, fields = [e4m3[448] at 0, bf16[64] at 448], scales = ue8m0[7] at 0 per 64 footer 8, page_multiple = 576>
// CHECK-DAG: #v41 = #nsa.kv_layout<data_bytes = 512, fields = [e4m3[512] at 0], scales = ue8m0[16] at 0 per 32 footer 16, page_multiple = 512>
// CHECK-DAG: #indexer = #nsa.kv_layout<data_bytes = 128, fields = [e4m3[128] at 0], scales = f32[1] at 0 per 128 footer 4, page_multiple = 1>
// Others are not.
// CHECK-DAG: #kv_layout = #nsa.kv_layout<data_bytes = 528, fields = [e4m3[512] at 0], scales = ue8m0[16] at 512 per 32 inline, page_multiple = 528>

// CHECK: test.v32 = #v32
// LOCAL: test.v32 = #nsa.kv_layout<data_bytes = 656,
module attributes {test.v32 = #nsa.kv_layout<v32>} {}
// CHECK: test.v4 = #v4
module attributes {test.v4 = #nsa.kv_layout<v4>} {}
// CHECK: test.v41 = #v41
module attributes {test.v41 = #nsa.kv_layout<v41>} {}
// CHECK: test.indexer = #indexer
module attributes {test.indexer = #nsa.kv_layout<indexer>} {}

// The same written out is the same.
// CHECK: test.v4_again = #v4
module attributes {test.v4_again =
  #nsa.kv_layout<data_bytes = 576, fields = [e4m3[448] at 0, bf16[64] at 448],
                 scales = ue8m0[7] at 0 per 64 footer 8, page_multiple = 576>} {}

// A multiple of 1 may be left out.
// CHECK: test.indexer_again = #indexer
module attributes {test.indexer_again =
  #nsa.kv_layout<data_bytes = 128, fields = [e4m3[128] at 0],
                 scales = f32[1] at 0 per 128 footer 4>} {}

// CHECK: test.other = #kv_layout
module attributes {test.other =
  #nsa.kv_layout<data_bytes = 528, fields = [e4m3[512] at 0],
                 scales = ue8m0[16] at 512 per 32 inline, page_multiple = 528>} {}
