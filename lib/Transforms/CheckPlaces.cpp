//===- CheckPlaces.cpp - Copies of two elements to one place --------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// No part of the verifier: a formula that depends on an index may be folded to
// one that does not, where all elements but one are dropped.
//
//===----------------------------------------------------------------------===//

#define GEN_PASS_DEF_CHECKPLACES
#include "nsa/Transforms/Passes.h"

#include "nsa/Codegen/FormulaCost.h"

using namespace mlir;
using namespace nsa;

/// Whether elements of `value` that differ in index `dim` alone may differ, as
/// far as its formula shows.
static bool mayDependOn(Value value, unsigned dim) {
  auto map = value.getDefiningOp<MapOp>();
  return !map || dependsOn(map.getYielded(), map.getArguments()[dim]);
}

/// An index of the value of `copy` that neither says where an element goes nor
/// whether it is stored, or nothing.
static std::optional<unsigned> getIdleIndex(CopyOp copy) {
  if (copy.getPlaces().empty())
    return std::nullopt;
  unsigned rank = cast<ShapedType>(copy.getValue().getType()).getRank();
  for (unsigned dim = 0; dim < rank; ++dim) {
    std::optional<int64_t> size =
        Size::of(copy.getValue(), dim).resolve().getConstant();
    if (size && *size <= 1)
      continue;
    if (llvm::none_of(copy.getSources().drop_front(),
                      [&](Value value) { return mayDependOn(value, dim); }))
      return dim;
  }
  return std::nullopt;
}

namespace {
struct CheckPlaces : public nsa::impl::CheckPlacesBase<CheckPlaces> {
  void runOnOperation() override {
    markAllAnalysesPreserved();
    getOperation().walk([&](CopyOp copy) {
      std::optional<unsigned> dim = getIdleIndex(copy);
      if (!dim)
        return;
      copy.emitOpError("stores two elements to one place: where they go does "
                       "not depend on ")
          << (cast<ShapedType>(copy.getValue().getType()).getRank() == 1
                  ? "their index"
              : *dim == 0 ? "their row"
                          : "their column")
          << "; compute the places from it, or say with 'when' which element "
             "is meant";
      signalPassFailure();
    });
  }
};
} // namespace
