// Where elements go: conditions, places, arrays that may be missing.

// RUN: nsa-opt %s --split-input-file --nsa-form-launches=per-copy --cse --nsa-fuse-launches --nsa-assign-tiles --nsa-launch-to-gpu | FileCheck %s --check-prefix=GPU
// RUN: nsa-opt %s --split-input-file --nsa-form-launches=per-copy --cse --nsa-fuse-launches --nsa-assign-tiles --nsa-launch-to-loops | FileCheck %s --check-prefix=HOST

// A place is compared, unsigned, with the size that the kernel is given.
// GPU-LABEL: gpu.func @scatter
// GPU-SAME: memref<?xi32, strided<[?]>> {nsa.sizes = array<i64: 0>}
// GPU: %[[PLACE:.*]] = memref.load
// GPU: %[[INDEX:.*]] = arith.index_cast %{{.*}} : i64 to index
// GPU: %[[SIZE:.*]] = memref.dim
// GPU: arith.cmpi ult, %[[INDEX]], %[[SIZE]]
// GPU: scf.if
// GPU: memref.store
// HOST-LABEL: func.func @scatter.scatter
// HOST: arith.cmpi ult
// HOST: memref.store
nsa.step @scatter(in %n : index, in %v[%n] : tensor<?xi32>, in %p[%n] : tensor<?xi64>,
                  out %a : memref<?xi32, strided<[?]>>) {
  nsa.copy %v at [%p] to %a : tensor<?xi32> at tensor<?xi64> to memref<?xi32, strided<[?]>>
}

// -----

// Where a whole vector is wanted it is stored as one, else lane by lane.
// GPU-LABEL: gpu.func @masked
// GPU-COUNT-4: arith.cmpi ne, %{{.*}}, %{{.*}} : i8
// GPU: vector.store
// GPU: } else {
// GPU: arith.cmpi ne, %{{.*}}, %{{.*}} : i8
// GPU: memref.store
nsa.step @masked(in %n : index, in %v[%n, ?] : tensor<?x?xi32>, in %m[%n, ?] : tensor<?x?xi8>,
                 in %c : index, out %a : memref<?x?xi32, strided<[?, 1]>>) {
  %value = nsa.map(%r, %j) in (%n, %c) : tensor<?x?xi32> {
    %zero = arith.constant 0 : i32
    %x = nsa.read %v[%r, %j] else %zero : tensor<?x?xi32>
    nsa.yield %x : i32
  }
  %mask = nsa.map(%r, %j) in (%n, %c) : tensor<?x?xi8> {
    %zero = arith.constant 0 : i8
    %x = nsa.read %m[%r, %j] else %zero : tensor<?x?xi8>
    nsa.yield %x : i8
  }
  nsa.copy %value when %mask to %a : tensor<?x?xi32> when tensor<?x?xi8> to memref<?x?xi32, strided<[?, 1]>>
}

// -----

// A bit of the last argument says whether an array is there, before its store.
// Where all that a segment writes may be missing, it has no blocks, and the host
// skips its loop. No address is looked at for that.
// GPU-LABEL: gpu.func @optional
// GPU-SAME: %[[THERE:[a-z0-9]+]]: i64)
// GPU-SAME: nsa.presence = array<i64: 5, 4>
// GPU-NOT: memref.extract_aligned_pointer_as_index %arg4
// GPU: %[[SUMS:.*]] = arith.andi %[[THERE]], %{{.*}} : i64
// GPU: %[[WANTED:.*]] = arith.cmpi ne, %[[SUMS]]
// GPU: arith.select %[[WANTED]], %{{.*}}, %{{.*}} : i32
// GPU: arith.andi %[[THERE]]
// GPU: scf.if
// GPU: memref.store
// HOST-LABEL: func.func @optional.optional
// HOST-SAME: %[[THERE:[a-z0-9]+]]: i64)
// HOST: %[[SUMS:.*]] = arith.andi %[[THERE]]
// HOST: %[[WANTED:.*]] = arith.cmpi ne, %[[SUMS]]
// HOST: scf.if %[[WANTED]]
// HOST: scf.for
nsa.step @optional(in %n : index, in %c : index, in %v[%n] : tensor<?xi32>, in %t[%n, %c] : tensor<?x?xi32>,
                   out optional %cu : memref<?xi32>,
                   out optional %a : memref<?x?xi32, strided<[?, 1]>>, out %b : memref<?x?xi32, strided<[?, 1]>>) {
  %sums = nsa.cu_seqlens %v : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %sums to %cu : tensor<?xi32> to memref<?xi32>
  nsa.copy %t to %a, %b : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>, memref<?x?xi32, strided<[?, 1]>>
}

// Of many arrays that may be missing, one look says that none but the first is there.
// GPU-LABEL: gpu.func @backends
// GPU: %[[OTHERS:.*]] = arith.andi %{{.*}}, %c14_i64
// GPU: %[[ANY:.*]] = arith.cmpi ne, %[[OTHERS]]
// GPU: scf.if %[[ANY]] {
// GPU-COUNT-3: arith.andi %{{.*}}, %c{{[248]}}_i64
// GPU: return
nsa.step @backends(in %n : index, in %v[%n] : tensor<?xi32>, out optional %a : memref<?xi32, strided<[?]>>,
                   out optional %b : memref<?xi32, strided<[?]>>, out optional %c : memref<?xi32, strided<[?]>>,
                   out optional %d : memref<?xi32, strided<[?]>>) {
  nsa.copy %v to %a, %b, %c, %d
      : tensor<?xi32> to memref<?xi32, strided<[?]>>, memref<?xi32, strided<[?]>>, memref<?xi32, strided<[?]>>, memref<?xi32, strided<[?]>>
}
