// nsa-opt --nsa-bf16-to-bits
llvm.func @pick(%one : !llvm.ptr, %other : !llvm.ptr, %is_one : i1) {
  %a = llvm.load %one : !llvm.ptr -> bf16
  %b = llvm.mlir.constant(1.0 : bf16) : bf16
  %c = llvm.select %is_one, %a, %b : i1, bf16
  llvm.store %c, %other : bf16, !llvm.ptr
  llvm.return
}
