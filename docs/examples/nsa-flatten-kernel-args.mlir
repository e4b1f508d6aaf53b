// nsa-opt --nsa-flatten-kernel-args
gpu.module @lengths {
  gpu.func @lengths(%bs : index,
                    %lens : memref<?xi32, strided<[?]>> {nsa.readonly})
      kernel attributes {nsa.kernel} {
    gpu.return
  }
}
