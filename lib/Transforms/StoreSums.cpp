//===- StoreSums.cpp - A launch of its own for large sums -----------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#define GEN_PASS_DEF_STORESUMS
#include "nsa/Transforms/Passes.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace nsa;

/// How large `size` is expected to be, if the text says that.
static std::optional<int64_t> getExpected(const Size &size) {
  Size resolved = size.resolve();
  if (!resolved.isKnown())
    return std::nullopt;
  SmallVector<AffineExpr> values;
  for (const Size::Symbol &symbol : resolved.getSymbols()) {
    auto port = dyn_cast<BlockArgument>(symbol.value);
    if (!port || symbol.dim >= 0)
      return std::nullopt;
    std::optional<int64_t> expected = StepOp::getExpected(port);
    if (!expected)
      return std::nullopt;
    values.push_back(getAffineConstantExpr(*expected, port.getContext()));
  }
  AffineExpr value = simplifyAffineExpr(
      resolved.getExpr().replaceSymbols(values), /*numDims=*/0,
      /*numSymbols=*/0);
  auto constant = dyn_cast<AffineConstantExpr>(value);
  return constant ? std::optional<int64_t>(constant.getValue()) : std::nullopt;
}

namespace {
struct StoreSums : public nsa::impl::StoreSumsBase<StoreSums> {
  using Base::Base;

  void runOnOperation() override {
    StepOp step = getOperation();
    SmallVector<ScanOp> scans;
    step.walk([&](ScanOp scan) { scans.push_back(scan); });
    for (ScanOp scan : scans) {
      Value source = scan.getSource();
      // Launches that the text states are its author's.
      if (scan->getParentOp() != step || scan.getSums() || scan.use_empty() ||
          cast<ShapedType>(source.getType()).getRank() != 1)
        continue;
      std::optional<int64_t> expected = getExpected(Size::of(source, 0));
      if (expected && *expected > most)
        store(step, scan, *expected);
    }
  }

  static void store(StepOp step, ScanOp scan, int64_t expected) {
    OpBuilder b(scan);
    Location loc = scan.getLoc();
    auto layout = StridedLayoutAttr::get(b.getContext(), /*offset=*/0,
                                         ShapedType::kDynamic);
    auto type = MemRefType::get(ShapedType::kDynamic,
                                getElementTypeOrSelf(scan.getType()), layout);
    BlockArgument port = step.addInOutPort("workspace", type, loc);
    Value tiles = TileSumsOp::create(b, loc, scan.getSource()).getResult();
    CopyOp::create(b, loc, tiles, /*mask=*/Value(), /*places=*/ValueRange(),
                   port, b.getI64IntegerAttr(0));
    scan.getSumsMutable().assign(port);
    remark::passed(loc, remarkBy("StoreSums")) << remark::add(
        "a launch before stores sums of each {0} elements to "
        "port '{1}', because {2} elements are expected, which "
        "each block would add up",
        int64_t(1) << TileSumsOp::logTile, step.getPortName(port), expected);
  }
};
} // namespace
