// RUN: rm -rf %t && nsa-compile %s -o %t --chip=sm_80
// RUN: FileCheck %s --check-prefix=MANIFEST --input-file=%t/v32.json
// RUN: FileCheck %s --check-prefix=PTX --input-file=%t/v32.ptx
// RUN: FileCheck %s --check-prefix=HEADER --input-file=%t/v32.h
// RUN: nsa-opt %s --nsa-to-llvm | FileCheck %s --check-prefix=HOST

// MANIFEST: "name": "cache",
// MANIFEST: "dtype": "int8",
// MANIFEST: "name": "out",
// MANIFEST: "dtype": "bfloat16",
// A page is what rows of the cache have to hold.
// MANIFEST: "argument": "cache",
// MANIFEST-NEXT: "dim": 1,
// MANIFEST-NEXT: "at_least": 41984
// MANIFEST: "rows": "tokens",
// MANIFEST-NEXT: "columns": 576,
// MANIFEST-NEXT: "tile": [
// MANIFEST-NEXT: 3,
// MANIFEST-NEXT: 576

// PTX: .entry v32(
// PTX: ld.global.nc.v4.b32
// PTX: cvt.rn.bf16x2.f32
// PTX: st.global.v4.b32

// HEADER: nsa_view out; /* out, bfloat16, rank 2 */
// HEADER: {"out", NSA_KIND_OUT, -1, 2, 2, 2, 0, v32_dims + {{[0-9]+}}, 0},

// The host rounds by integer arithmetic: no call, no conversion to bfloat.
// HOST-NOT: fptrunc
// HOST-NOT: llvm.call
nsa.step @v32(in %tokens : index, in %cache : tensor<?x?xi8>,
              in %ids[%tokens] : tensor<?xi64>,
              out %out : memref<?x?xbf16, strided<[?, 1]>>) {
  %kv = nsa.dequant_paged %cache[%ids] layout #nsa.kv_layout<v32> page_size 64
      : tensor<?x?xi8>, tensor<?xi64> -> tensor<?x576xbf16>
  nsa.copy %kv to %out : tensor<?x576xbf16> to memref<?x?xbf16, strided<[?, 1]>>
}
