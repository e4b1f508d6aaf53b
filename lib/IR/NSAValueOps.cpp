//===- NSAValueOps.cpp - Types, shapes and checks of values and copies ----===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SegmentFacts.h"

using namespace mlir;
using namespace nsa;

//===----------------------------------------------------------------------===//
// Assembly
//===----------------------------------------------------------------------===//

/// size ::= ssa-use | integer
static ParseResult
parseSizeOrConstant(OpAsmParser &parser,
                    std::optional<OpAsmParser::UnresolvedOperand> &value,
                    IntegerAttr &constant) {
  OpAsmParser::UnresolvedOperand operand;
  OptionalParseResult parsed = parser.parseOptionalOperand(operand);
  if (parsed.has_value()) {
    value = operand;
    return *parsed;
  }
  return parser.parseAttribute(constant,
                               parser.getBuilder().getIntegerType(64));
}

/// bound ::= (`within` | `padded` `to`) ssa-use
static OptionalParseResult
parseBound(OpAsmParser &parser,
           std::optional<OpAsmParser::UnresolvedOperand> &bound,
           UnitAttr &padded) {
  if (succeeded(parser.parseOptionalKeyword("padded"))) {
    padded = parser.getBuilder().getUnitAttr();
    if (ParseResult parsed = parser.parseKeyword("to"))
      return parsed;
  } else if (failed(parser.parseOptionalKeyword("within"))) {
    return std::nullopt;
  }
  return parser.parseOperand(bound.emplace());
}

static void printBound(OpAsmPrinter &p, Operation *, Value bound,
                       UnitAttr padded) {
  p << (padded ? "padded to " : "within ") << bound;
}

/// The type of an array that is read; the other types follow from it.
static ParseResult
parseReadTypes(OpAsmParser &parser, Type &source, Type &result, Type &fill,
               std::optional<OpAsmParser::UnresolvedOperand> fillOperand) {
  SMLoc location = parser.getCurrentLocation();
  if (parser.parseType(source))
    return failure();
  if (!isa<RankedTensorType, MemRefType>(source))
    return parser.emitError(location, "expected the type of an array, such as "
                                      "tensor<?xi32>");
  result = cast<ShapedType>(source).getElementType();
  if (fillOperand)
    fill = result;
  return success();
}

static void printReadTypes(OpAsmPrinter &p, Operation *, Type source, Type,
                           Type, Value) {
  p << source;
}

static void printSizeOrConstant(OpAsmPrinter &p, Operation *, Value value,
                                IntegerAttr constant) {
  if (value)
    p << value;
  else
    p << constant.getInt();
}

//===----------------------------------------------------------------------===//
// Sizes
//===----------------------------------------------------------------------===//

SmallVector<Size> PageTableOp::getResultSizes(Adaptor adaptor) {
  Size columns = adaptor.getColumns()
                     ? Size::of(adaptor.getColumns())
                     : Size::constant(adaptor.getRows().getContext(),
                                      adaptor.getStaticColumns().value_or(-1));
  return {Size::of(adaptor.getRows(), 0), columns};
}

SmallVector<Size> RealPageTableOp::getResultSizes(Adaptor adaptor) {
  Value source = adaptor.getSource();
  return {Size::of(source, 0),
          Size::of(source, 1).ceilDiv(adaptor.getPageSize())};
}

SmallVector<Size> DequantPagedOp::getResultSizes(Adaptor adaptor) {
  return {Size::of(adaptor.getIds(), 0),
          Size::constant(adaptor.getIds().getContext(),
                         adaptor.getLayout().getRowSize())};
}

//===----------------------------------------------------------------------===//
// Verification
//===----------------------------------------------------------------------===//

/// Of what is clipped.
ExpandOpInterface ClipSeqlensOp::getSummand() {
  auto source = getSource().getDefiningOp<RequestSumOpInterface>();
  return source ? source.getSummand() : ExpandOpInterface();
}

Value CuSeqlensOp::getSummed() { return getSource(); }

LogicalResult CuSeqlensOp::verifyInputs(const ValueFacts &facts) {
  if (facts.dependsOnScan(getSource()))
    return emitOpError() // (C2)
           << "expected a source that does not depend on another cumulative "
              "sum";
  return success();
}

LogicalResult PageTableOp::verify() {
  if (bool(getColumns()) == getStaticColumns().has_value())
    return emitOpError() // (C1)
           << "expected its number of columns either as a value or as a "
              "constant";
  if (int64_t(getStaticColumns().value_or(0)) < 0)
    return emitOpError() // (C2)
           << "expected 0 or more columns, but got "
           << int64_t(*getStaticColumns());
  return success();
}

bool PageTableOp::hasDeadElements() { return getLive() != nullptr; }

LogicalResult PageTableOp::verifyInputs(const ValueFacts &facts) {
  if (!isa<BlockArgument>(getReqToToken()))
    return emitOpError() // (C5)
           << "expected req_to_token to be an 'in' port";
  if (failed(facts.verifyPerRequest(*this, {getRows(), getLive()}, // (C3)
                                    "rows and live lengths that depend")))
    return failure();
  if (getLive() && !haveSameRequests(getRows(), getLive()))
    return emitOpError() // (C4)
           << "expected as many live lengths as rows, with the same extent or "
              "static size";
  return success();
}

/// The page table in tokens that `table` picks its pages from, and the tokens
/// of a page.
static std::pair<Value, int64_t> getTokenTable(RealPageTableOp table) {
  int64_t pageSize = table.getPageSize();
  Value source = table.getSource();
  while (Operation *op = source.getDefiningOp()) {
    if (auto rows = dyn_cast<ExpandRowsOp>(op)) {
      source = rows.getSource();
      continue;
    }
    auto pages = dyn_cast<RealPageTableOp>(op);
    if (!pages || pageSize > std::numeric_limits<int32_t>::max())
      break;
    pageSize *= pages.getPageSize();
    source = pages.getSource();
  }
  return {source, pageSize};
}

Value RealPageTableOp::getPickedFrom() { return getSource(); }

int64_t RealPageTableOp::getPickStride() { return getPageSize(); }

bool RealPageTableOp::hasDeadElements() {
  auto source = getSource().getDefiningOp<LivenessOpInterface>();
  return source && source.hasDeadElements();
}

LogicalResult RealPageTableOp::verifyInputs(const ValueFacts &) {
  // Columns in tokens, which have 64 bits, then do not wrap.
  if (getTokenTable(*this).second > std::numeric_limits<int32_t>::max())
    return emitOpError() // (C3)
           << "expected pages of 2^31-1 tokens or less, those of its source "
              "counted in tokens as well";
  return success();
}

LogicalResult ContextLensOp::verifyInputs(const ValueFacts &facts) {
  return facts.verifyPerRequest(*this, getSource(), // (C2)
                                "a source that depends");
}

bool DequantPagedOp::isUniform(int64_t width) {
  int64_t column = 0;
  for (const KVRun &run : getLayout().getFields()) {
    column += run.count;
    if (column % width != 0 ||
        (run.type == KVType::E4M3 && getLayout().getGroup() % width != 0))
      return false;
  }
  return true;
}

/// Vectors fill a load, where all elements of one are of a group.
int64_t DequantPagedOp::getMostWidth(TargetAttr target) {
  int64_t loaded = target.getVectorWidth(getLoadBits());
  return isUniform(loaded) ? loaded : target.getVectorWidth(16);
}

int64_t DequantPagedOp::getLoadBits() { return 8; }

/// Rows past the last one of an expansion.
bool DequantPagedOp::hasDeadElements() {
  ExpandOpInterface op = getExpandOp(getIds());
  auto expansion =
      op ? op.getExpansion().getDefiningOp<ExpansionOp>() : ExpansionOp();
  return expansion && !expansion.isUniform() && !expansion.getPadded();
}

LogicalResult DequantPagedOp::verify() {
  if (!isa<BlockArgument>(getCache()))
    return emitOpError() // (C3)
           << "expected the cache to be an 'in' port";
  int64_t bytes = getCache().getType().getDimSize(1);
  int64_t pageBytes = getLayout().getPageBytes(getPageSize());
  if (!ShapedType::isDynamic(bytes) && bytes < pageBytes)
    return emitOpError() // (C3)
           << "expected rows of the cache to hold a page of " << pageBytes
           << " bytes, but got " << getCache().getType();
  return success();
}

LogicalResult DequantPagedOp::verifyInputs(const ValueFacts &facts) {
  if (facts.dependsOnScan(getIds()))
    return emitOpError() // (C4)
           << "expected ids that do not depend on a cumulative sum";
  return success();
}

LogicalResult CopyOp::verify() {
  auto step = (*this)->getParentOfType<StepOp>();
  if (!step)
    return emitOpError("expected to be inside of an 'nsa.step'"); // (C1)
  if (failed(step.verifyDestinations(*this, getDestinations())))
    return failure();
  auto valueType = cast<ShapedType>(getValue().getType());
  int64_t from = getFrom();
  if (from < 0 || (from != 0 && (valueType.getRank() != 1 || !isPlain())))
    return emitOpError() // (C5)
           << "expected 'from' to be 0 or more, and 0 unless the value has "
              "rank 1 and there is neither 'when' nor 'at', but got "
           << from << " for " << valueType;
  bool isScattered = !getPlaces().empty();
  int64_t rank = isScattered ? getPlaces().size() : valueType.getRank();
  for (Value destination : getDestinations()) {
    StringRef name = step.getPortName(cast<BlockArgument>(destination));
    auto type = cast<ShapedType>(destination.getType());
    if (type.getRank() != rank)
      return emitOpError() // (C3)
             << "expected destination '" << name << "' to have rank " << rank
             << (isScattered ? ", as there are so many places, but got "
                             : " but got ")
             << type;
    if (type.getElementType() != valueType.getElementType())
      return emitOpError() // (C6)
             << "expected destination '" << name
             << "' to have elements of type " << valueType.getElementType()
             << " but got " << type;
    if (isScattered)
      continue;
    for (int64_t dim = 0; dim < type.getRank(); ++dim)
      if (!type.isDynamicDim(dim) && !valueType.isDynamicDim(dim) &&
          type.getDimSize(dim) < valueType.getDimSize(dim))
        return emitOpError() // (C4)
               << "expected dimension " << dim << " of destination '" << name
               << "' to have at least " << valueType.getDimSize(dim)
               << " elements, but got " << type;
  }
  return success();
}

/// Follows operands, so steps and segments call it once they know that these
/// come before.
LogicalResult CopyOp::verifyElements() {
  if (isPlain())
    return success();
  auto verifyTile = [&](Value value) -> LogicalResult {
    if (!dependsOnScan(value) && !getExpansion(value))
      return success();
    return emitOpError() // (C8)
           << "expected what 'when' and 'at' store to be computed element by "
              "element, but got one made from an 'nsa.cu_seqlens' or an "
              "'nsa.expansion'; write it with 'nsa.map' and 'nsa.scan'";
  };
  for (Value other : getSources().drop_front()) {
    auto type = cast<ShapedType>(other.getType());
    bool isSame =
        type.getRank() == cast<ShapedType>(getValue().getType()).getRank();
    for (int64_t dim = 0; isSame && dim < type.getRank(); ++dim)
      isSame = Size::of(other, dim).isSameAs(Size::of(getValue(), dim));
    if (!isSame)
      return emitOpError() // (C7)
             << "expected 'when' and 'at' to have the sizes of the value, an "
                "element for each of its, but got "
             << type << " for " << getValue().getType();
    if (failed(verifyTile(other)))
      return failure();
  }
  return verifyTile(getValue());
}

#define GET_OP_CLASSES
#include "nsa/IR/NSAOps.cpp.inc"
