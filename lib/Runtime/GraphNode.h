//===- GraphNode.h - A step that was captured in a graph --------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_RUNTIME_GRAPHNODE_H
#define NSA_LIB_RUNTIME_GRAPHNODE_H

#include "Driver.h"

#include <vector>

namespace nsa::runtime {

/// The nodes of a step's kernels, in their order.
struct GraphNode {
  struct Kernel {
    CUgraphNode node;
    CUfunction function;
  };
  std::vector<Kernel> kernels;
};

} // namespace nsa::runtime

#endif // NSA_LIB_RUNTIME_GRAPHNODE_H
