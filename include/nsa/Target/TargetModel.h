//===- TargetModel.h - What kernels assume about chips ----------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_TARGET_TARGETMODEL_H
#define NSA_TARGET_TARGETMODEL_H

#include <cstdint>

namespace nsa {

/// The facts and choices from which kernel shapes follow. One kernel serves all
/// sizes, so nothing here depends on a batch size.
struct TargetModel {
  /// Threads of a warp.
  static constexpr int64_t warpSize = 32;
  /// Threads of a block.
  static constexpr int64_t blockSize = 128;
  /// Bytes of the widest memory access of a thread.
  static constexpr int64_t accessBytes = 16;
  /// Bytes of shared memory that a block of any GPU may have.
  static constexpr int64_t sharedBytes = 48 * 1024;
  /// Those of them for the tiles of sums; the rest is for what threads exchange.
  static constexpr int64_t tileBytes = 40 * 1024;
  /// Vectors that a thread of a tile moves, each a block's width apart.
  static constexpr int64_t vectorsPerThread = 1;
  /// Kernel parameters that every PTX version we emit accepts, in bytes.
  static constexpr int64_t parameterBytes = 4352;
  /// The same from PTX 8.1 on.
  static constexpr int64_t largeParameterBytes = 32764;

  /// What a kernel has to keep in flight so that memory does not wait for it:
  /// bandwidth times latency, over the threads that load. The PTX for one chip
  /// runs on all later ones, so these are the facts of the most demanding chip
  /// that was measured (H200): 4.8 TB/s, 700 ns, 132 multiprocessors with room
  /// for 2,048 threads.
  static constexpr int64_t memoryBytesPerNanosecond = 4800;
  static constexpr int64_t memoryLatencyNanoseconds = 700;
  static constexpr int64_t residentThreads = 132 * 2048;

  /// Vectors that a thread has to have in flight if it loads `bytes` bytes for
  /// each.
  static constexpr int64_t vectorsInFlight(int64_t bytes) {
    int64_t wanted = memoryBytesPerNanosecond * memoryLatencyNanoseconds;
    int64_t loaded = residentThreads * bytes;
    return (wanted + loaded - 1) / loaded;
  }

  /// Elements of `bits` bits in the widest access.
  static constexpr int64_t vectorWidth(int64_t bits) {
    return accessBytes * 8 / bits;
  }
};

} // namespace nsa

#endif // NSA_TARGET_TARGETMODEL_H
