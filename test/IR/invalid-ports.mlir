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
// expected-error @below {{expected 'alignment', 'layout' or 'expected' on port 'x', but got 'aligned'}}
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

// -----

// StepOp C10
// expected-error @below {{expected 'inout' port 'd' to be one array that is there, because it is read}}
nsa.step @step(inout optional %d : memref<?xi32>) {}

// -----

// StepOp C10
// expected-error @below {{expected 'inout' port 'd' to be one array that is there, because it is read}}
nsa.step @step(inout %d : !nsa.metadata_ref<decode>) {}

// -----

// expected-error @below {{expected an 'inout' port to be a memref but got 'inout' with type 'tensor<?xi32>'}}
nsa.step @step(inout %d : tensor<?xi32>) {}

// -----

nsa.step @step(in %n : index, out %d : memref<?xi32>) {
  %v = nsa.map(%r) in (%n) : tensor<?xi32> {
    // StepOp C11: an array that is only written
    // expected-error @below {{expected port 'd' to be 'in' or 'inout', because it is read}}
    %x = nsa.read %d[%r] : memref<?xi32>
    nsa.yield %x : i32
  }
  nsa.copy %v to %d : tensor<?xi32> to memref<?xi32>
}

// -----

nsa.step @step(in %n : index, inout %d : memref<?xi32>) {
  %v = nsa.map(%r) in (%n) : tensor<?xi32> {
    %zero = arith.constant 0 : index
    %none = arith.constant 0 : i32
    // StepOp C11: another element
    // expected-error @below {{expected the indices of the 'nsa.map' itself, because other elements of 'inout' port 'd' may have been written before this read}}
    %x = nsa.read %d[%zero] else %none : memref<?xi32>
    nsa.yield %x : i32
  }
  nsa.copy %v to %d : tensor<?xi32> to memref<?xi32>
}

// -----

nsa.step @step(in %n : index, inout %d : memref<?x?xi32, strided<[?, 1]>>) {
  %v = nsa.map(%r, %c) in (%n, %n) : tensor<?x?xi32> {
    // StepOp C11: the transposed table
    // expected-error @below {{expected the indices of the 'nsa.map' itself, because other elements}}
    %x = nsa.read %d[%c, %r] : memref<?x?xi32, strided<[?, 1]>>
    nsa.yield %x : i32
  }
  nsa.copy %v to %d : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
}

// -----

nsa.step @step(in %n : index, inout %d : memref<?xi32>) {
  %v = nsa.iterate(%r, %y) in (%n) from 0 : tensor<?xi32> {
    // StepOp C11: who reads an element of a recurrence makes all before it
    // expected-error @below {{expected a read of 'inout' port 'd' to be in an 'nsa.map', which reads an element once}}
    %x = nsa.read %d[%r] : memref<?xi32>
    nsa.yield %x : i32
  }
  nsa.copy %v to %d : tensor<?xi32> to memref<?xi32>
}

// -----

nsa.step @step(in %n : index, inout %d : memref<?xi32>, out %e : memref<?xi32>) {
  %v = nsa.map(%r) in (%n) : tensor<?xi32> {
    // StepOp C11: stored elsewhere, too
    // expected-error @below {{expected its 'nsa.map' to be stored to 'inout' port 'd' and used nowhere else, because what reads it elsewhere may do so after it was written}}
    %x = nsa.read %d[%r] : memref<?xi32>
    nsa.yield %x : i32
  }
  nsa.copy %v to %d, %e : tensor<?xi32> to memref<?xi32>, memref<?xi32>
}

// -----

nsa.step @step(in %n : index, inout %d : memref<?xi32>, inout %e : memref<?xi32>) {
  %v = nsa.map(%r) in (%n) : tensor<?xi32> {
    // StepOp C11: the other array of two
    // expected-error @below {{expected its 'nsa.map' to be stored to 'inout' port 'e' and used nowhere else}}
    %x = nsa.read %e[%r] : memref<?xi32>
    nsa.yield %x : i32
  }
  nsa.copy %v to %d : tensor<?xi32> to memref<?xi32>
}

// -----

nsa.step @step(in %n : index, inout %d : memref<?xi32>, out %s : memref<?xi32>) {
  %v = nsa.map(%r) in (%n) : tensor<?xi32> {
    // StepOp C11: a sum reads it, too
    // expected-error @below {{expected its 'nsa.map' to be stored to 'inout' port 'd' and used nowhere else}}
    %x = nsa.read %d[%r] : memref<?xi32>
    nsa.yield %x : i32
  }
  %sum = nsa.reduce add %v : tensor<?xi32> -> tensor<1xi32>
  nsa.copy %v to %d : tensor<?xi32> to memref<?xi32>
  nsa.copy %sum to %s : tensor<1xi32> to memref<?xi32>
}

// -----

nsa.step @step(in %n : index, inout %d : memref<?xi32>, out %e : memref<?xi32>) {
  %v = nsa.map(%r) in (%n) : tensor<?xi32> {
    // expected-error @below {{expected its 'nsa.map' to be stored to 'inout' port 'd' and used nowhere else}}
    %x = nsa.read %d[%r] : memref<?xi32>
    nsa.yield %x : i32
  }
  // StepOp C11: a formula that reads it
  %w = nsa.map(%r) in (%n) : tensor<?xi32> {
    %x = nsa.read %v[%r] : tensor<?xi32>
    nsa.yield %x : i32
  }
  nsa.copy %v to %d : tensor<?xi32> to memref<?xi32>
  nsa.copy %w to %e : tensor<?xi32> to memref<?xi32>
}

// -----

nsa.step @step(in %n : index, in %p[%n] : tensor<?xi64>, inout %d : memref<?xi32, strided<[?]>>) {
  %v = nsa.map(%r) in (%n) : tensor<?xi32> {
    // StepOp C11: two elements may go to one place
    // expected-error @below {{expected its 'nsa.map' to be stored without 'at', because another read of 'inout' port 'd' may come after such a store}}
    %x = nsa.read %d[%r] : memref<?xi32, strided<[?]>>
    nsa.yield %x : i32
  }
  nsa.copy %v at [%p] to %d : tensor<?xi32> at tensor<?xi64> to memref<?xi32, strided<[?]>>
}

// -----

nsa.step @step(in %n : index, inout %d : memref<?xi32>) {
  %v = nsa.map(%r) in (%n) : tensor<?xi32> {
    %x = nsa.read %d[%r] : memref<?xi32>
    nsa.yield %x : i32
  }
  // expected-note @below {{the other copy is here}}
  nsa.copy %v to %d : tensor<?xi32> to memref<?xi32>
  // StepOp C5: two writers
  // expected-error @below {{writes to port 'd', which another copy writes to}}
  nsa.copy %v to %d : tensor<?xi32> to memref<?xi32>
}

// -----

nsa.step @step(inout %d : memref<?xi32>) {
  // expected-error @below {{invalid kind of type specified: expected builtin.tensor, but found 'memref<?xi32>'}}
  %v = nsa.seqlens %d plus 1 : memref<?xi32> -> tensor<?xi32>
  nsa.copy %v to %d : tensor<?xi32> to memref<?xi32>
}

// -----

// StepOp C13
// expected-error @below {{expected what is 'expected' of port 'x' to be a number from 0 to 2^31-1, on an index, but got 5 : i64}}
nsa.step @step(in %x : tensor<?xi32> {expected = 5}, out %d : memref<?xi32>) {
}

// -----

// StepOp C13
// expected-error @below {{expected what is 'expected' of port 'n' to be a number from 0 to 2^31-1, on an index, but got -1 : i64}}
nsa.step @step(in %n : index {expected = -1}, out %d : memref<?xi32>) {
}
