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
  Block *ports = (*this)->getBlock();
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
        if (BlockArgument extent = StepOp::getExtent(port, dim))
          used.insert(extent);
  }
  SmallVector<BlockArgument> result = usedPorts.takeVector();
  llvm::sort(result, StepOp::isBefore);
  return result;
}

LogicalResult LaunchOp::verify() {
  constexpr uint64_t most = 1024;
  uint64_t threads = getThreads().value_or(most);
  return success(
      expectName(*this, "the launch", getSymName(), NameOf::Launch) && // (C2)
      expect(*this, threads <= most && llvm::isPowerOf2_64(threads),   // (C3)
             "'threads' to be a power of 2, at most ", most, ", but got ",
             int64_t(threads)));
}

LogicalResult LaunchOp::verifyRegions() {
  return success(llvm::all_of(getBody().front(), [&](Operation &op) {
    return expect(*this, isa<SegmentOp>(op), // (C1)
                  "its body to hold segments only, but got '", op.getName(),
                  "'");
  }));
}

LogicalResult SegmentOp::verify() {
  size_t most = getFacts(getKind()).mostSizes, count = getSizes().size();
  return success(expect(*this, count >= 1 && count <= most, // (C1)
                        most == 1 ? "1 size" : "1 or 2 sizes", " but got ",
                        count));
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
  SmallVector<BlockArgument> ports;
  for (CopyOp copy : getCopies())
    for (Value destination : copy.getDestinations()) {
      if (!StepOp::isOptional(destination))
        return {};
      ports.push_back(cast<BlockArgument>(destination));
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
static bool expectExpandedScan(Value value) {
  if (!nsa::getExpansion(value) || !dependsOnScan(value))
    return true;
  auto scan =
      cast<SumOpInterface>(findOrigin(value, llvm::IsaPred<SumOpInterface>));
  auto summed = scan.getSummed().getDefiningOp<RequestSumOpInterface>();
  return expect(scan, summed && summed.getSummand(),
                "the rows that it adds up to be 'nsa.expand_seqlens' or a clip "
                "of it");
}

/// Rows are repeated where they are stored, so nothing is computed from
/// repeated rows; canonicalisation moves `nsa.expand_rows` outwards.
static bool expectExpandedRows(Value value) {
  Operation *op = value.getDefiningOp();
  auto isRepeated = [](Value value) { return getRequestValue(value) != value; };
  return !op || isRepeated(value) ||
         expect(op, llvm::none_of(op->getOperands(), isRepeated),
                "a source that is not 'nsa.expand_rows'; run 'canonicalize' "
                "before");
}

bool nsa::expectCopied(Value value) {
  return expectExpandedScan(value) && expectExpandedRows(value);
}

//===----------------------------------------------------------------------===//
// Segments
//===----------------------------------------------------------------------===//

/// Checks that the value of `copy` belongs to `segment`: constraint C4.
static bool expectSpace(SegmentOp segment, CopyOp copy) {
  IndexSpace space = IndexSpace::of(copy.getValue());
  bool isTaken = segment.takesVectors() && space.kind == SegmentKind::Tile &&
                 space.sizes.size() == 1 && copy.isPlain();
  bool hasOtherSizes = segment.isPicked(copy) ||
                       (segment.isOfRow(copy) && segment.hasSharedRows());
  auto isSame = [](Value size, const Size &wanted) {
    return Size::of(size).isSameAs(wanted);
  };
  return expect(copy, space.kind == segment.getKind() || isTaken,
                "a value for a '", stringifySegmentKind(segment.getKind()),
                "' segment, but got one for a '",
                stringifySegmentKind(space.kind), "' segment") &&
         expect(copy,
                hasOtherSizes ||
                    llvm::equal(segment.getSizes(), space.sizes, isSame),
                "a value with the sizes of its segment");
}

LogicalResult SegmentOp::verifyRegions() {
  for (Operation &op : getBody().front())
    if (!expect(*this, isa<CopyOp>(op) || isValue(&op), // (C2)
                "its body to hold copies and nsa values only, but got '",
                op.getName(), "'"))
      return failure();
  if (failed(verifyValues(getBody().front()))) // (C2)
    return failure();
  for (CopyOp copy : getCopies())
    if (!copy.expectElements() || !expectSpace(*this, copy) || // (C4)
        !expectCopied(copy.getValue()))
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
