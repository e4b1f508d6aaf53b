// nsa-opt --nsa-sink-casts
gpu.module @module {
  gpu.func @kernel(%a: memref<?xi32>, %place: i32, %is_inside: i1) kernel {
    %index = arith.index_cast %place : i32 to index
    scf.if %is_inside {
      memref.store %place, %a[%index] : memref<?xi32>
    }
    gpu.return
  }
}
