// nsa-opt --nsa-drop-wrap-flags
llvm.func @address(%array : !llvm.ptr, %stride : i64, %row : i64) -> !llvm.ptr {
  %offset = llvm.mul %row, %stride overflow<nsw, nuw> : i64
  %address = llvm.getelementptr inbounds|nuw %array[%offset] : (!llvm.ptr, i64) -> !llvm.ptr, i32
  llvm.return %address : !llvm.ptr
}
