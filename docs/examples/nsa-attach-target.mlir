// nsa-opt --nsa-attach-target=chip=sm_90
gpu.module @lengths {
  gpu.func @lengths() kernel {
    gpu.return
  }
}
