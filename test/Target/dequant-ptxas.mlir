// REQUIRES: ptxas
// RUN: rm -rf %t && nsa-compile %s -o %t
// RUN: ptxas -v -arch=sm_80 %t/all.ptx -o %t/cubin 2>&1 | FileCheck %s
// RUN: ptxas -v -arch=sm_86 %t/all.ptx -o %t/cubin 2>&1 | FileCheck %s
// RUN: ptxas -v -arch=sm_89 %t/all.ptx -o %t/cubin 2>&1 | FileCheck %s
// RUN: ptxas -v -arch=sm_90 %t/all.ptx -o %t/cubin 2>&1 | FileCheck %s
// RUN: ptxas -v -arch=sm_100 %t/all.ptx -o %t/cubin 2>&1 | FileCheck %s
// RUN: ptxas -v -arch=sm_120 %t/all.ptx -o %t/cubin 2>&1 | FileCheck %s

// CHECK-NOT: {{warning|error}}
// CHECK: 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
// CHECK-NOT: {{warning|error}}
nsa.step @all(in %n : index, in %a : tensor<?x?xi8>, in %b : tensor<?x?xi8>,
              in %c : tensor<?x?xi8>, in %d : tensor<?x?xi8>,
              in %ids[%n] : tensor<?xi64>,
              out %w : memref<?x?xbf16, strided<[?, 1]>>,
              out %x : memref<?x?xbf16, strided<[?, 1]>>,
              out %y : memref<?x?xbf16, strided<[?, 1]>>,
              out %z : memref<?x?xbf16, strided<[?, 1]>>) {
  %0 = nsa.dequant_paged %a[%ids] layout #nsa.kv_layout<v32> page_size 64
      : tensor<?x?xi8>, tensor<?xi64> -> tensor<?x576xbf16>
  %1 = nsa.dequant_paged %b[%ids] layout #nsa.kv_layout<v4> page_size 256
      : tensor<?x?xi8>, tensor<?xi64> -> tensor<?x512xbf16>
  %2 = nsa.dequant_paged %c[%ids] layout #nsa.kv_layout<v41> page_size 1
      : tensor<?x?xi8>, tensor<?xi64> -> tensor<?x512xbf16>
  %3 = nsa.dequant_paged %d[%ids] layout #nsa.kv_layout<indexer> page_size 3
      : tensor<?x?xi8>, tensor<?xi64> -> tensor<?x128xbf16>
  nsa.copy %0 to %w : tensor<?x576xbf16> to memref<?x?xbf16, strided<[?, 1]>>
  nsa.copy %1 to %x : tensor<?x512xbf16> to memref<?x?xbf16, strided<[?, 1]>>
  nsa.copy %2 to %y : tensor<?x512xbf16> to memref<?x?xbf16, strided<[?, 1]>>
  nsa.copy %3 to %z : tensor<?x128xbf16> to memref<?x?xbf16, strided<[?, 1]>>
}
