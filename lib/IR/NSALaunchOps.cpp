//===- NSALaunchOps.cpp - Launches and segments ---------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SegmentFacts.h"

#include "Identifier.h"

#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace nsa;

SmallVector<BlockArgument> LaunchOp::getUsedPorts() {
  auto step = cast<StepOp>((*this)->getParentOp());
  Block *ports = &step.getBody().front();
  llvm::SetVector<Value> used;
  walk([&](Operation *op) { used.insert_range(op->getOperands()); });
  llvm::SetVector<BlockArgument> usedPorts;
  for (size_t i = 0; i < used.size(); ++i) {
    Value value = used[i];
    // Sizes are computed from ports outside of the launch, so look through
    // them.
    if (Operation *op = value.getDefiningOp()) {
      used.insert_range(op->getOperands());
      continue;
    }
    auto port = cast<BlockArgument>(value);
    if (port.getOwner() != ports || !usedPorts.insert(port))
      continue;
    // The sizes of a port are needed wherever the port is.
    if (auto type = dyn_cast<RankedTensorType>(port.getType()))
      for (int64_t dim = 0; dim < type.getRank(); ++dim)
        if (BlockArgument extent = step.getExtent(port, dim))
          used.insert(extent);
  }
  SmallVector<BlockArgument> result = usedPorts.takeVector();
  llvm::sort(result, StepOp::isBefore);
  return result;
}

LogicalResult LaunchOp::verify() {
  if (std::string problem = getNameProblem(getSymName(), NameOf::Launch);
      !problem.empty())
    return emitOpError() // (C2)
           << "expected another name for the launch than '" << getSymName()
           << "', because " << problem;
  constexpr uint64_t most = 1024;
  if (std::optional<uint64_t> threads = getThreads();
      threads && (*threads > most || !llvm::isPowerOf2_64(*threads)))
    return emitOpError() // (C3)
           << "expected 'threads' to be a power of 2, at most " << most
           << ", but got " << int64_t(*threads);
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
  size_t most = getFacts(getKind()).mostSizes;
  if (getSizes().empty() || getSizes().size() > most)
    return emitOpError() // (C1)
           << "expected " << (most == 1 ? "1 size" : "1 or 2 sizes")
           << " but got " << getSizes().size();
  return success();
}

bool SegmentOp::isCut() { return getFacts(getKind()).isCut; }

bool SegmentOp::takesVectors() { return getFacts(getKind()).takesVectors; }

int64_t SegmentOp::getElementBits() {
  for (CopyOp copy : getCopies())
    if (!isOfRow(copy))
      return cast<ShapedType>(copy.getValue().getType())
          .getElementTypeBitWidth();
  return 32;
}

SmallVector<BlockArgument> SegmentOp::getOptionalPorts() {
  auto step = (*this)->getParentOfType<StepOp>();
  SmallVector<BlockArgument> ports;
  for (CopyOp copy : getCopies())
    for (Value destination : copy.getDestinations()) {
      auto port = cast<BlockArgument>(destination);
      if (!step.isOptional(port))
        return {};
      ports.push_back(port);
    }
  return ports;
}

//===----------------------------------------------------------------------===//
// Index spaces
//===----------------------------------------------------------------------===//

bool nsa::isIteratedAs(Operation *op, Iteration iteration) {
  auto value = dyn_cast_or_null<ValueOpInterface>(op);
  return value && value.getIteration() == iteration;
}

Operation *nsa::findOrigin(Value value,
                           function_ref<bool(Operation *)> isWanted) {
  Operation *found = nullptr;
  walkOrigins(value, [&](Operation *op) {
    if (!found && isWanted(op))
      found = op;
    // Rows of what is computed element by element are its own.
    return !found && !isIteratedAs(op, Iteration::Any);
  });
  return found;
}

ExpandOpInterface nsa::getExpandOp(Value value) {
  return dyn_cast_or_null<ExpandOpInterface>(
      findOrigin(value, llvm::IsaPred<ExpandOpInterface>));
}

bool nsa::isWrittenByRequest(Value value) {
  bool isTable = cast<ShapedType>(value.getType()).getRank() == 2;
  // The rows of a table are repeated as they are, or computed one by one.
  return getExpansion(value) &&
         (!isTable || isIteratedAs(value.getDefiningOp(), Iteration::Expand));
}

SegmentKind nsa::getKind(Value value) {
  for (uint32_t number = 0; number <= getMaxEnumValForSegmentKind(); ++number)
    if (auto kind = SegmentKind(number); SegmentOp::getFacts(kind).holds(value))
      return kind;
  llvm_unreachable("some kind holds any value");
}

IndexSpace IndexSpace::of(Value value) {
  IndexSpace space = {nsa::getKind(value), {}};
  int64_t rank = cast<ShapedType>(value.getType()).getRank();
  for (int64_t dim = 0; dim < rank; ++dim)
    space.sizes.push_back(Size::of(value, dim));
  space.sizes[0] = SegmentOp::getFacts(space.kind).getRows(value);
  return space;
}

/// Sums over a request's rows are computed without visiting them, which not all
/// values know how to.
static LogicalResult verifyExpandedScan(Value value) {
  if (!nsa::getExpansion(value) || !dependsOnScan(value))
    return success();
  auto scan =
      cast<SumOpInterface>(findOrigin(value, llvm::IsaPred<SumOpInterface>));
  auto summed = scan.getSummed().getDefiningOp<RequestSumOpInterface>();
  if (summed && summed.getSummand())
    return success();
  return scan.emitOpError("expected the rows that it adds up to be "
                          "'nsa.expand_seqlens' or a clip of it");
}

/// Rows are repeated where they are stored, so nothing is computed from
/// repeated rows; canonicalisation moves `nsa.expand_rows` outwards.
static LogicalResult verifyExpandedRows(Value value) {
  Operation *op = value.getDefiningOp();
  auto areRepeated = [](Value value) {
    return getRequestValue(value) != value;
  };
  if (!op || areRepeated(value))
    return success();
  for (Value operand : op->getOperands())
    if (areRepeated(operand))
      return op->emitOpError("expected a source that is not 'nsa.expand_rows'; "
                             "run 'canonicalize' before");
  return success();
}

LogicalResult nsa::verifyCopied(Value value) {
  return success(succeeded(verifyExpandedScan(value)) &&
                 succeeded(verifyExpandedRows(value)));
}

//===----------------------------------------------------------------------===//
// Segments
//===----------------------------------------------------------------------===//

/// Checks that the value of `copy` belongs to `segment`: constraint C4.
static LogicalResult verifySpace(SegmentOp segment, CopyOp copy) {
  IndexSpace space = IndexSpace::of(copy.getValue());
  bool isVector = space.sizes.size() == 1;
  bool isTaken = segment.takesVectors() && space.kind == SegmentKind::Tile &&
                 isVector && copy.isPlain();
  if (space.kind != segment.getKind() && !isTaken)
    return copy.emitOpError()
           << "expected a value for a '"
           << stringifySegmentKind(segment.getKind())
           << "' segment, but got one for a '"
           << stringifySegmentKind(space.kind) << "' segment";
  if (segment.isPicked(copy) ||
      (segment.isOfRow(copy) && segment.hasSharedRows()))
    return success();
  auto isSame = [](Value size, const Size &wanted) {
    return Size::of(size).isSameAs(wanted);
  };
  if (!llvm::equal(segment.getSizes(), space.sizes, isSame))
    return copy.emitOpError()
           << "expected a value with the sizes of its segment";
  return success();
}

LogicalResult SegmentOp::verifyRegions() {
  for (Operation &op : getBody().front())
    if (!isa<CopyOp>(op) && !isValue(&op))
      return emitOpError() // (C2)
             << "expected its body to hold copies and nsa values only, but got "
                "'"
             << op.getName() << "'";
  if (failed(verifyValues(getBody().front()))) // (C2)
    return failure();
  for (CopyOp copy : getCopies())
    if (failed(copy.verifyElements()) || failed(verifySpace(*this, copy)) ||
        failed(verifyCopied(copy.getValue()))) // (C4)
      return failure();
  return getFacts(getKind()).verifyCopies(*this);
}

ExpansionOp SegmentOp::getExpansion() {
  for (CopyOp copy : getCopies())
    if (ExpansionOp expansion = nsa::getExpansion(copy.getValue()))
      return expansion;
  return {};
}

bool SegmentOp::isWalked() {
  return getKind() == SegmentKind::Tile &&
         llvm::any_of(getCopies(), [](CopyOp copy) {
           Value value = copy.getValue();
           return isIteratedAs(value.getDefiningOp(), Iteration::Row) ||
                  nsa::getExpansion(value);
         });
}

Value nsa::getRequestValue(Value value) {
  auto op = value.getDefiningOp<ExpandOpInterface>();
  Value repeated = op ? op.getRepeated() : Value();
  return repeated ? repeated : value;
}

bool SegmentOp::isPicked(CopyOp copy) {
  if (!copy.isPlain())
    return false;
  auto pick = getRequestValue(copy.getValue()).getDefiningOp<PickOpInterface>();
  Value source = pick ? pick.getPickedFrom() : Value();
  return source && llvm::any_of(getCopies(), [&](CopyOp other) {
           return getRequestValue(other.getValue()) == source &&
                  !isPicked(other);
         });
}

bool SegmentOp::isSharedByRow(SharedOpInterface op) {
  std::optional<Size> rows = op.getSharedRows();
  return rows && rows->isSameAs(Size::of(getSizes().front()));
}

bool SegmentOp::hasSharedRows() {
  return getKind() == SegmentKind::Tile &&
         llvm::any_of(getBody().getOps<SharedOpInterface>(),
                      [&](SharedOpInterface op) { return isSharedByRow(op); });
}

bool SegmentOp::isOfRow(CopyOp copy) {
  return getKind() == SegmentKind::Tile && getSizes().size() == 2 &&
         cast<ShapedType>(copy.getValue().getType()).getRank() == 1 &&
         Size::of(copy.getValue(), 0).isSameAs(Size::of(getSizes().front()));
}

bool SegmentOp::hasElementsOfRows() {
  return llvm::any_of(getCopies(), [&](CopyOp copy) { return isOfRow(copy); });
}

void nsa::cutColumns(SegmentOp segment, Grid &grid) {
  TilingAttr tiling = *segment.getTiling();
  // Whoever walks a row takes all of its columns, and elements of an array have
  // a block each then.
  if (segment.getSizes().size() == 2 && tiling.isWalked())
    return;
  grid.columns = Size::of(segment.getSizes().back());
  grid.tileColumns = std::max<int64_t>(tiling.getColumns(), 1);
}

Grid SegmentOp::getGrid() { return getFacts(getKind()).getGrid(*this); }
