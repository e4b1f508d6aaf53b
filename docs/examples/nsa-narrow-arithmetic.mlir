// nsa-opt --nsa-narrow-arithmetic --canonicalize --cse
gpu.module @module {
  gpu.func @kernel(%n: index, %a: memref<?xi32>) kernel {
    %c0 = arith.constant 0 : index
    %c6 = arith.constant 6 : index
    %size = memref.dim %a, %c0 : memref<?xi32>
    %value = memref.load %a[%c0] : memref<?xi32>
    %index = arith.index_cast %value : i32 to index
    %page = arith.shrsi %index, %c6 : index
    %is_inside = arith.cmpi ult, %page, %size : index
    scf.if %is_inside {
      memref.store %value, %a[%page] : memref<?xi32>
    }
    gpu.return
  }
}
