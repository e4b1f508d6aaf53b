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
  return success(
      expect(*this, !facts.dependsOnScan(getSource()), // (C2)
             "a source that does not depend on another cumulative sum"));
}

LogicalResult PageTableOp::verify() {
  int64_t constant = getStaticColumns().value_or(0);
  return success(
      expect(*this,
             bool(getColumns()) != getStaticColumns().has_value(), // (C1)
             "its number of columns either as a value or as a constant") &&
      expect(*this, constant >= 0, // (C2)
             "0 or more columns, but got ", constant));
}

bool PageTableOp::hasDeadElements() { return getLive() != nullptr; }

LogicalResult PageTableOp::verifyInputs(const ValueFacts &facts) {
  return success(
      expectPort(*this, getReqToToken(), "req_to_token") && // (C5)
      facts.expectPerRequest(*this, {getRows(), getLive()}, // (C3)
                             "rows and live lengths that depend") &&
      expect(*this, // (C4)
             !getLive() || haveSameRequests(getRows(), getLive()),
             "as many live lengths as rows, with the same extent or static "
             "size"));
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
  return success(expect(*this, getTokenTable(*this).second <= INT32_MAX, // (C3)
                        "pages of 2^31-1 tokens or less, those of its source "
                        "counted in tokens as well"));
}

LogicalResult ContextLensOp::verifyInputs(const ValueFacts &facts) {
  return success(facts.expectPerRequest(*this, getSource(), // (C2)
                                        "a source that depends"));
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
  int64_t bytes = getCache().getType().getDimSize(1);
  int64_t pageBytes = getLayout().getPageBytes(getPageSize());
  return success(expectPort(*this, getCache(), "the cache") && // (C3)
                 expect(*this,                                 // (C3)
                        ShapedType::isDynamic(bytes) || bytes >= pageBytes,
                        "rows of the cache to hold a page of ", pageBytes,
                        " bytes, but got ", getCache().getType()));
}

LogicalResult DequantPagedOp::verifyInputs(const ValueFacts &facts) {
  return success(expect(*this, !facts.dependsOnScan(getIds()), // (C4)
                        "ids that do not depend on a cumulative sum"));
}

LogicalResult CopyOp::verify() {
  auto step = (*this)->getParentOfType<StepOp>();
  if (!expect(*this, bool(step), "to be inside of an 'nsa.step'") || // (C1)
      !step.expectDestinations(*this, getDestinations()))
    return failure();
  auto valueType = cast<ShapedType>(getValue().getType());
  int64_t from = getFrom();
  bool isScattered = !getPlaces().empty();
  int64_t rank = isScattered ? getPlaces().size() : valueType.getRank();
  auto expectDestination = [&](Value destination) {
    StringRef name = StepOp::getPortName(destination);
    auto type = cast<ShapedType>(destination.getType());
    auto expectRoom = [&](int64_t dim) {
      return expect(*this, // (C4)
                    type.isDynamicDim(dim) || valueType.isDynamicDim(dim) ||
                        type.getDimSize(dim) >= valueType.getDimSize(dim),
                    "dimension ", dim, " of destination '", name,
                    "' to have at least ", valueType.getDimSize(dim),
                    " elements, but got ", type);
    };
    return expect(*this, type.getRank() == rank, // (C3)
                  "destination '", name, "' to have rank ", rank,
                  isScattered ? ", as there are so many places, but got "
                              : " but got ",
                  type) &&
           expect(*this,
                  type.getElementType() == valueType.getElementType(), // (C6)
                  "destination '", name, "' to have elements of type ",
                  valueType.getElementType(), " but got ", type) &&
           (isScattered || llvm::all_of(llvm::seq(rank), expectRoom));
  };
  return success(
      expect(*this, // (C5)
             from == 0 || (from > 0 && valueType.getRank() == 1 && isPlain()),
             "'from' to be 0 or more, and 0 unless the value has rank 1 and "
             "there is neither 'when' nor 'at', but got ",
             from, " for ", valueType) &&
      llvm::all_of(getDestinations(), expectDestination));
}

/// Follows operands, so steps and segments call it once they know that these
/// come before.
bool CopyOp::expectElements() {
  auto expectTile = [&](Value value) {
    return expect(*this, !dependsOnScan(value) && !getExpansion(value), // (C8)
                  "what 'when' and 'at' store to be computed element by "
                  "element, but got one made from an 'nsa.cu_seqlens' or an "
                  "'nsa.expansion'; write it with 'nsa.map' and 'nsa.scan'");
  };
  auto expectSizes = [&](Value other) {
    auto type = cast<ShapedType>(other.getType());
    auto isSame = [&](int64_t dim) {
      return Size::of(other, dim).isSameAs(Size::of(getValue(), dim));
    };
    return expect(
        *this, // (C7)
        type.getRank() == cast<ShapedType>(getValue().getType()).getRank() &&
            llvm::all_of(llvm::seq(type.getRank()), isSame),
        "'when' and 'at' to have the sizes of the value, an element for each "
        "of its, but got ",
        type, " for ", getValue().getType());
  };
  return isPlain() ||
         (llvm::all_of(getSources().drop_front(),
                       [&](Value other) {
                         return expectSizes(other) && expectTile(other);
                       }) &&
          expectTile(getValue()));
}

#define GET_OP_CLASSES
#include "nsa/IR/NSAOps.cpp.inc"
