//===- Binding.h - A step with its arrays, ready to launch ------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_RUNTIME_BINDING_H
#define NSA_LIB_RUNTIME_BINDING_H

#include "Arguments.h"
#include "Step.h"

#include <memory>
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

/// Holds every kernel parameter ready; what depends on the sizes of a launch is
/// recomputed there, in place, so that a launch allocates nothing.
class Binding {
public:
  /// Checks everything that does not depend on sizes that are still unknown.
  /// `launches`: whether it is to be launched, for which kernels are needed.
  Binding(std::shared_ptr<const Step> step, BoundArguments arguments,
          bool launches = true);

  /// `sizes` as nsa_binding_launch has them. Throws before the first kernel is
  /// launched if a check fails.
  void launch(const int64_t *sizes, void *stream);
  /// Launches on a stream that is being captured, and says which nodes that
  /// makes.
  GraphNode capture(const int64_t *sizes, void *stream);
  /// Gives nodes of the same step in an instance of their graph these arrays
  /// and sizes.
  void update(const GraphNode &captured, void *graph, const int64_t *sizes);
  /// Every check of a launch, and the parameters and grids that it would have.
  void prepare(const int64_t *sizes);
  nsa_kernel_launch kernel(size_t index) const;
  /// Points into the binding.
  nsa_array array(size_t argument) const;

  bool isCuda() const { return arguments.cuda; }
  int device() const { return arguments.device; }

private:
  /// A requirement whose dimensions are known.
  struct Check {
    const nsa_requirement *requirement;
    SizeExpr atLeast;
    int64_t actual;
  };
  struct Kernel {
    const KernelSpec *spec;
    CUfunction deviceFunction = nullptr;
    nsa_host_fn hostFunction = nullptr;
    std::vector<int64_t> values;
    /// Into `values`: what host kernels and nodes of a graph take.
    std::vector<void *> pointers;
    /// Which values are size arguments: place in `values`, sizeIndex.
    std::vector<std::pair<size_t, int64_t>> sizeValues;
    /// Rows and columns of the segments, and the segments made of them.
    std::vector<SizeExpr> sizes;
    std::vector<nsa_segment> segments;
    int64_t blocks = 0;
  };

  void addKernel(const KernelSpec &spec);
  /// Whether sizes are those that were prepared last.
  bool isPreparedFor(const int64_t *sizes) const;
  void resolveSizes(const int64_t *sizes);
  void require(const Check &check) const;
  void computeGrid(Kernel &kernel);
  /// Of a kernel that has blocks.
  void launch(Kernel &kernel, CUstream stream);

  std::shared_ptr<const Step> step;
  nsa_signature signature;
  BoundArguments arguments;
  std::vector<Check> checks;
  std::vector<Kernel> kernels;
  std::vector<int64_t> current;
  CUcontext context = nullptr;
  bool launches;
  /// Whether the last prepare() was for `current` and well.
  bool isPrepared = false;
};

} // namespace nsa::runtime

#endif // NSA_LIB_RUNTIME_BINDING_H
