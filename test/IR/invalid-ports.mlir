// Ports, sets of fields and copies of them that are refused.

// RUN: nsa-opt %s --split-input-file --verify-diagnostics

// StepOp C4
// expected-error @below {{expected extent 0 of port 'x' to add 0 or more, but got -1}}
nsa.step @step(in %bs : index, in %x[%bs + -1] : tensor<?xi32>, out %d : memref<?xi32>) {
}

// -----

// StepOp C4
// expected-error @below {{expected the 2 sizes of a decode set on port 'src', but got 1}}
nsa.step @step(in %bs : index, in %src[%bs] : !nsa.metadata<decode>, out %d : memref<?xi32>) {
}

// -----

// StepOp C4
// expected-error @below {{expected the 3 sizes of a target_verify set on port 'src', but got 0}}
nsa.step @step(in %bs : index, in %src : !nsa.metadata<target_verify>, out %d : memref<?xi32>) {
}

// -----

// StepOp C4
// expected-error @below {{expected extent 1 of port 'src' to add nothing, but got 1}}
nsa.step @step(in %bs : index, in %src[%bs, %bs + 1] : !nsa.metadata<decode>, out %d : memref<?xi32>) {
}

// -----

// StepOp C7
// expected-error @below {{expected the alignment of port 'x' to be a power of 2 from the size of an element to 2^20, but got 12 : i64}}
nsa.step @step(in %x : tensor<?xi32> {alignment = 12}, out %d : memref<?xi32>) {
}

// -----

// StepOp C7
// expected-error @below {{expected the alignment of port 'x' to be a power of 2}}
nsa.step @step(in %x : tensor<?xi64> {alignment = 4}, out %d : memref<?xi32>) {
}

// -----

// StepOp C7
// expected-error @below {{expected the alignment of port 'bs'}}
nsa.step @step(in %bs : index {alignment = 4}, out %d : memref<?xi32>) {
}

// -----

// StepOp C7
// expected-error @below {{expected the layout of port 'd' to be strided, on a tensor}}
nsa.step @step(in %x : tensor<?xi32>, out %d : memref<?xi32> {layout = strided<[1]>}) {
}

// -----

// StepOp C7
// expected-error @below {{expected the layout of port 'x' to be strided}}
nsa.step @step(in %x : tensor<?x?xi32> {layout = strided<[4, 2]>}, out %d : memref<?xi32>) {
}

// -----

// StepOp C7
// expected-error @below {{expected 'alignment' or 'layout' on port 'x', but got 'aligned'}}
nsa.step @step(in %x : tensor<?xi32> {aligned}, out %d : memref<?xi32>) {
}

// -----

nsa.step @step(in %x : tensor<?x?xi32>, out %d : memref<?x?xi32, strided<[?, 1]>>) {
  // CopyOp C5
  // expected-error @below {{expected 'from' to be 0 or more, and 0 unless the value has rank 1 and there is neither 'when' nor 'at', but got 1 for 'tensor<?x?xi32>'}}
  nsa.copy %x from 1 to %d : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
}

// -----

// expected-error @below {{expected a mode (decode, target_verify or draft_extend) but got 'extend'}}
nsa.step @step(out %d : !nsa.metadata_ref<extend>) {}

// -----

// expected-error @below {{expected a field but got 'cache_seqlen'}}
nsa.step @step(out %d : !nsa.metadata_ref<decode, only [cache_seqlen]>) {}

// -----

// expected-error @below {{expected a field that decode has, but got 'seqlens_expanded'}}
nsa.step @step(out %d : !nsa.metadata_ref<decode, [seqlens_expanded]>) {}

// -----

// expected-error @below {{expected each field once, but got 'real_page_table' twice}}
nsa.step @step(out %d : !nsa.metadata_ref<decode, [real_page_table, real_page_table]>) {}

// -----

nsa.step @step(in %n : index, in %src[%n, %n] : !nsa.metadata<decode>, out %d : !nsa.metadata_ref<decode>) {
  // CopyMetadataOp C2
  // expected-error @below {{expected each destination once, but got 'd' twice}}
  nsa.copy_metadata %src to %d, %d : !nsa.metadata<decode> to !nsa.metadata_ref<decode>, !nsa.metadata_ref<decode>
}

// -----

nsa.step @step(in %n : index, in %src[%n, %n] : !nsa.metadata<decode>,
               out %d : !nsa.metadata_ref<target_verify>) {
  // CopyMetadataOp C3
  // expected-error @below {{expected destination 'd' to have mode decode but got target_verify}}
  nsa.copy_metadata %src to %d : !nsa.metadata<decode> to !nsa.metadata_ref<target_verify>
}

// -----

nsa.step @step(in %n : index, in %src[%n, %n] : !nsa.metadata<decode>,
               out %d : !nsa.metadata_ref<decode, [real_page_table]>) {
  // CopyMetadataOp C4
  // expected-error @below {{expected the source to have field 'real_page_table', which destination 'd' has, but got '!nsa.metadata<decode>'}}
  nsa.copy_metadata %src to %d : !nsa.metadata<decode> to !nsa.metadata_ref<decode, [real_page_table]>
}

// -----

nsa.step @step(in %n : index, in %src[%n, %n] : !nsa.metadata<decode>, out %d : !nsa.metadata_ref<decode>) {
  // expected-note @below {{the other copy is here}}
  nsa.copy_metadata %src to %d : !nsa.metadata<decode> to !nsa.metadata_ref<decode>
  // StepOp C5
  // expected-error @below {{writes to port 'd', which another copy writes to}}
  nsa.copy_metadata %src to %d : !nsa.metadata<decode> to !nsa.metadata_ref<decode>
}

// -----

// StepOp C9: what is read has to be there
// expected-error @below {{expected port 'lens' to be written, because it is optional: what is read has to be there}}
nsa.step @step(in optional %lens : tensor<?xi32>, out %x : memref<?xi32>) {
  nsa.copy %lens to %x : tensor<?xi32> to memref<?xi32>
}
