//===- NSALaunchOps.cpp - Launches and segments ---------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/IR/NSADialect.h"

#include "Identifier.h"

#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace nsa;

SmallVector<BlockArgument> LaunchOp::getUsedPorts() {
  auto step = cast<StepOp>((*this)->getParentOp());
  Block *ports = &step.getBody().front();
  // Sizes are computed from ports outside of the launch, so look through them.
  llvm::SetVector<BlockArgument> used;
  SmallVector<Value> worklist;
  walk([&](Operation *op) { llvm::append_range(worklist, op->getOperands()); });
  llvm::DenseSet<Value> seen;
  while (!worklist.empty()) {
    Value value = worklist.pop_back_val();
    if (!seen.insert(value).second)
      continue;
    if (auto port = dyn_cast<BlockArgument>(value)) {
      if (port.getOwner() == ports)
        used.insert(port);
      continue;
    }
    llvm::append_range(worklist, value.getDefiningOp()->getOperands());
  }
  // The sizes of a port are needed wherever the port is.
  SmallVector<BlockArgument> tensors(used.begin(), used.end());
  for (BlockArgument port : tensors)
    if (auto type = dyn_cast<RankedTensorType>(port.getType()))
      for (int64_t dim = 0; dim < type.getRank(); ++dim)
        if (BlockArgument extent = step.getExtent(port, dim))
          used.insert(extent);
  SmallVector<BlockArgument> result = used.takeVector();
  llvm::sort(result, [](BlockArgument lhs, BlockArgument rhs) {
    return lhs.getArgNumber() < rhs.getArgNumber();
  });
  return result;
}

LogicalResult LaunchOp::verify() {
  if (std::string problem = getNameProblem(getSymName(), NameOf::Launch);
      !problem.empty())
    return emitOpError() // (C2)
           << "expected another name for the launch than '" << getSymName()
           << "', because " << problem;
  return success();
}

LogicalResult LaunchOp::verifyRegions() {
  for (Operation &op : getBody().front())
    if (!isa<SegmentOp>(op))
      return emitOpError() // (C1)
             << "expected its body to hold segments only, but got '"
             << op.getName() << "'";
  return success();
}

LogicalResult SegmentOp::verify() {
  size_t most = getKind() == SegmentKind::Scan ? 1 : 2;
  if (getSizes().empty() || getSizes().size() > most)
    return emitOpError() // (C1)
           << "expected " << (most == 1 ? "1 size" : "1 or 2 sizes")
           << " but got " << getSizes().size();
  return success();
}

int64_t SegmentOp::getElementBits() {
  if (getCopies().empty())
    return 32;
  return cast<ShapedType>((*getCopies().begin()).getValue().getType())
      .getElementTypeBitWidth();
}

LogicalResult SegmentOp::verifyRegions() {
  for (Operation &op : getBody().front())
    if (!isa<CopyOp>(op) && !isValueOrSize(&op))
      return emitOpError() // (C2)
             << "expected its body to hold copies, nsa values and sizes only, "
                "but got '"
             << op.getName() << "'";
  if (getKind() != SegmentKind::Tile)
    return success();
  for (CopyOp copy : getCopies()) {
    auto type = cast<ShapedType>(copy.getValue().getType());
    if (type.getElementTypeBitWidth() != getElementBits())
      return copy.emitOpError() // (C3)
             << "expected elements of " << getElementBits()
             << " bits like those of the segment's first copy, but got "
             << type;
  }
  return success();
}

ExpansionOp SegmentOp::getExpansion() {
  for (CopyOp copy : getCopies())
    if (ExpansionOp expansion = nsa::getExpansion(copy.getValue()))
      return expansion;
  return {};
}

OpFoldResult SegmentOp::getNumRows(OpBuilder &b) {
  OpFoldResult size = getSizes().front();
  if (getKind() == SegmentKind::Expand && getSizes().size() == 1)
    return getExpansion().getNumRows(b, getLoc(), size);
  return size;
}

int64_t SegmentOp::getNumExtraRows() {
  if (getKind() != SegmentKind::Expand)
    return 0;
  return getSizes().size() == 1 || getExpansion().getPadded();
}
