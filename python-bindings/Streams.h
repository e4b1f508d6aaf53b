//===- Streams.h - CUDA streams that come from Python -----------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_PYTHON_STREAMS_H
#define NSA_PYTHON_STREAMS_H

#include "DLPack.h"

#include <nanobind/nanobind.h>

namespace nsa::python {

/// The CUstream behind an int, or an object with `cuda_stream` (torch), `ptr`
/// (CuPy) or `__cuda_stream__`. Throws nanobind::python_error.
void *streamOf(nanobind::handle stream);

/// The CUgraphExec behind an int, or an object with `raw_cuda_graph_exec()`
/// (torch) or `graphExec` (CuPy). Throws nanobind::python_error.
void *graphExecOf(nanobind::handle graph);

/// How to ask for the stream that the producer of some array works on.
class StreamSource {
public:
  StreamSource() = default;
  /// Looks at the type of `array`, which is on CUDA device `device`.
  StreamSource(nanobind::handle array, int device);

  /// False: it cannot be asked, and current() is the legacy default stream.
  explicit operator bool() const { return api || function.is_valid(); }
  bool runsPython() const { return function.is_valid(); }
  /// The producer's current stream.
  void *current() const;

private:
  int device = 0;
  const dlpack::ExchangeApi *api = nullptr;
  /// A Python function; the device is its argument if `takesDevice`.
  nanobind::object function;
  bool takesDevice = false;
};

} // namespace nsa::python

#endif // NSA_PYTHON_STREAMS_H
