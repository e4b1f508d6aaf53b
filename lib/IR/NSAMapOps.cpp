//===- NSAMapOps.cpp - Syntax, sizes and checks of formulas ---------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/IR/NSADialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/TypeUtilities.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

using namespace mlir;
using namespace nsa;

//===----------------------------------------------------------------------===//
// What formulas have in common
//===----------------------------------------------------------------------===//

/// Sizes, some of which are operands.
static SmallVector<Size> getMixedSizes(MLIRContext *context,
                                       OperandRange operands,
                                       ArrayRef<int64_t> staticSizes) {
  SmallVector<Size> sizes;
  for (int64_t size : staticSizes) {
    if (!ShapedType::isDynamic(size)) {
      sizes.push_back(Size::constant(context, size));
      continue;
    }
    // Too few are diagnosed where the operation is verified.
    sizes.push_back(operands.empty() ? Size() : Size::of(operands.front()));
    operands = operands.drop_front(!operands.empty());
  }
  return sizes;
}

static void setArgumentNames(Region &region, ArrayRef<StringLiteral> names,
                             OpAsmSetValueNameFn setName) {
  for (auto [argument, name] : llvm::zip(region.getArguments(), names))
    setName(argument, name);
}

/// formula ::= `(` ssa-id (`,` ssa-id)* `)` `in` `(` sizes `)`
///             (`from` integer)? `:` type attributes? region
///
/// `firstName` is that of the attribute with the first element, of what has
/// one; its body gets an element then.
static ParseResult parseFormula(OpAsmParser &parser, OperationState &result,
                                StringAttr sizesName,
                                StringAttr firstName = {}) {
  SmallVector<OpAsmParser::Argument> arguments;
  SmallVector<OpAsmParser::UnresolvedOperand> sizes;
  DenseI64ArrayAttr staticSizes;
  IntegerAttr first;
  Type type, index = parser.getBuilder().getIndexType();
  if (parser.parseArgumentList(arguments, OpAsmParser::Delimiter::Paren) ||
      parser.parseKeyword("in") ||
      parseDynamicIndexList(parser, sizes, staticSizes,
                            /*valueTypes=*/nullptr,
                            OpAsmParser::Delimiter::Paren) ||
      parser.resolveOperands(sizes, index, result.operands) ||
      (firstName &&
       (parser.parseKeyword("from") ||
        parser.parseAttribute(first, parser.getBuilder().getI64Type(),
                              firstName, result.attributes))) ||
      parser.parseColonType(type) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes))
    return failure();
  for (OpAsmParser::Argument &argument : arguments)
    argument.type = index;
  if (firstName && arguments.size() == 2)
    arguments.back().type = getElementTypeOrSelf(type);
  result.addAttribute(sizesName, staticSizes);
  result.addTypes(type);
  return parser.parseRegion(*result.addRegion(), arguments);
}

static void printFormula(OpAsmPrinter &p, Operation *op, OperandRange operands,
                         ArrayRef<int64_t> staticSizes, StringAttr sizesName,
                         StringAttr firstName = {}) {
  p << '(';
  llvm::interleaveComma(op->getRegion(0).getArguments(), p);
  p << ") in ";
  printDynamicIndexList(p, op, operands, staticSizes,
                        /*valueTypes=*/TypeRange(),
                        OpAsmParser::Delimiter::Paren);
  SmallVector<StringRef> printed = {sizesName};
  if (firstName) {
    printed.push_back(firstName);
    p << " from " << op->getAttrOfType<IntegerAttr>(firstName).getInt();
  }
  p << " : " << op->getResult(0).getType();
  p.printOptionalAttrDictWithKeyword(op->getAttrs(), printed);
  p << ' ';
  p.printRegion(op->getRegion(0), /*printEntryBlockArgs=*/false);
}

/// Whether the sizes of `op` are numbers or have an operand each.
static LogicalResult verifySizes(Operation *op, ArrayRef<int64_t> sizes) {
  if (size_t(llvm::count(sizes, ShapedType::kDynamic)) != op->getNumOperands())
    return op->emitOpError() // (C1)
           << "expected an operand for each size that is not a constant";
  for (int64_t size : sizes)
    if (!ShapedType::isDynamic(size) &&
        (size < 0 || size > std::numeric_limits<int32_t>::max()))
      return op->emitOpError() // (C1)
             << "expected sizes from 0 to 2147483647, but got " << size;
  return success();
}

static LogicalResult verifyResult(Operation *op, ArrayRef<int64_t> shape) {
  auto type = cast<ShapedType>(op->getResult(0).getType());
  if (type.getShape() != shape)
    return op->emitOpError() // (C3)
           << "expected a result of type "
           << RankedTensorType::get(shape, type.getElementType()) << " but got "
           << type;
  return success();
}

/// What is not right with `op` in the body of a map, or nothing.
static std::optional<std::string> getFormulaProblem(Operation &op) {
  if (isa<ReadOp, SearchOp, YieldOp>(op))
    return std::nullopt;
  bool isKnown =
      isa<arith::AddIOp, arith::SubIOp, arith::MulIOp, arith::AndIOp,
          arith::OrIOp, arith::XOrIOp, arith::MinSIOp, arith::MinUIOp,
          arith::MaxSIOp, arith::MaxUIOp, arith::CmpIOp, arith::SelectOp,
          arith::ConstantOp, arith::BitcastOp, arith::DivSIOp, arith::DivUIOp,
          arith::FloorDivSIOp, arith::CeilDivSIOp, arith::CeilDivUIOp,
          arith::RemSIOp, arith::RemUIOp, arith::ShLIOp, arith::ShRSIOp,
          arith::ShRUIOp, arith::ExtSIOp, arith::ExtUIOp, arith::TruncIOp,
          arith::IndexCastOp, arith::IndexCastUIOp, arith::AddFOp,
          arith::SubFOp, arith::MulFOp, arith::DivFOp, arith::NegFOp,
          arith::MinimumFOp, arith::MaximumFOp, arith::CmpFOp, arith::ExtFOp,
          arith::TruncFOp, arith::SIToFPOp, arith::UIToFPOp, arith::FPToSIOp,
          arith::FPToUIOp>(op);
  if (!isKnown)
    return "expected a formula of 'nsa.read', 'nsa.search' and the operations "
           "of 'arith' that 'nsa.map' lists";
  bool isMove =
      isa<arith::SelectOp, arith::ConstantOp, arith::BitcastOp, arith::ExtFOp,
          arith::TruncFOp, arith::SIToFPOp, arith::UIToFPOp>(op);
  for (Type type :
       llvm::concat<const Type>(op.getOperandTypes(), op.getResultTypes())) {
    if (!isScalar(type))
      return "expected numbers of type i1, i8, i16, i32, i64, index, bf16 or "
             "f32";
    if (type.isBF16() && !isMove)
      return "expected no arithmetic on bf16, which is converted to f32 before";
  }
  for (NamedAttribute attr : op.getAttrs()) {
    Attribute value = attr.getValue();
    auto overflow = dyn_cast<arith::IntegerOverflowFlagsAttr>(value);
    auto fast = dyn_cast<arith::FastMathFlagsAttr>(value);
    bool isNone = (overflow &&
                   overflow.getValue() == arith::IntegerOverflowFlags::none) ||
                  (fast && fast.getValue() == arith::FastMathFlags::none);
    if (!isNone && attr.getName() != "value" && attr.getName() != "predicate")
      return "expected no flag, because it promises what contents of a device "
             "array can break";
  }
  return std::nullopt;
}

LogicalResult nsa::verifyFormula(Operation *formula) {
  Block &body = formula->getRegion(0).front();
  for (Operation &op : body)
    if (std::optional<std::string> problem = getFormulaProblem(op))
      return op.emitOpError() << *problem; // (C4)
  Type element = getElementTypeOrSelf(formula->getResult(0).getType());
  Type yielded = body.getTerminator()->getOperand(0).getType();
  if (yielded != element)
    return body.getTerminator()->emitOpError() // (C3)
           << "expected an element of type " << element << " but got "
           << yielded;
  return success();
}

/// Whether reads without a fill are known to be inside.
static LogicalResult verifyReads(Region &body) {
  for (ReadOp read : body.getOps<ReadOp>()) {
    if (read.getFill())
      continue;
    for (unsigned dim = 0; dim < read.getIndices().size(); ++dim)
      if (!read.isKnownInside(dim))
        return read.emitOpError() // (C3)
               << "expected an 'else', because nothing says that index " << dim
               << " is 0 or more and less than the size of dimension " << dim
               << " of " << read.getSource().getType();
  }
  return success();
}

//===----------------------------------------------------------------------===//
// MapOp
//===----------------------------------------------------------------------===//

SmallVector<Size> MapOp::getSizes() {
  return getMixedSizes(getContext(), getDynamicSizes(), getStaticSizes());
}

SmallVector<Size> MapOp::getIndexBounds() { return getSizes(); }

void MapOp::getAsmBlockArgumentNames(Region &region,
                                     OpAsmSetValueNameFn setName) {
  setArgumentNames(region, {"r", "c"}, setName);
}

ParseResult MapOp::parse(OpAsmParser &parser, OperationState &result) {
  return parseFormula(parser, result, getStaticSizesAttrName(result.name));
}

void MapOp::print(OpAsmPrinter &p) {
  printFormula(p, *this, getDynamicSizes(), getStaticSizes(),
               getStaticSizesAttrName());
}

LogicalResult MapOp::verify() {
  ArrayRef<int64_t> sizes = getStaticSizes();
  if (sizes.empty() || sizes.size() > 2)
    return emitOpError() // (C1)
           << "expected 1 or 2 sizes but got " << sizes.size();
  if (failed(verifySizes(*this, sizes)))
    return failure();
  auto isIndex = [](BlockArgument argument) {
    return argument.getType().isIndex();
  };
  if (getArguments().size() != sizes.size() ||
      !llvm::all_of(getArguments(), isIndex))
    return emitOpError() // (C2)
           << "expected a body with " << sizes.size()
           << (sizes.size() == 1 ? " argument" : " arguments")
           << " of type 'index'";
  if (getPacked() && sizes.size() != 2)
    return emitOpError() // (C6)
           << "expected two sizes of what is 'packed'";
  return verifyResult(*this, sizes);
}

LogicalResult MapOp::verifyInputs(const ValueFacts &) {
  return verifyReads(getBody());
}

//===----------------------------------------------------------------------===//
// IterateOp
//===----------------------------------------------------------------------===//

SmallVector<Size> IterateOp::getIndexBounds() {
  return getMixedSizes(getContext(), getDynamicSizes(), getStaticSizes());
}

SmallVector<Size> IterateOp::getSizes() {
  return {getIndexBounds().front() + 1};
}

void IterateOp::getAsmBlockArgumentNames(Region &region,
                                         OpAsmSetValueNameFn setName) {
  setArgumentNames(region, {"i", "x"}, setName);
}

ParseResult IterateOp::parse(OpAsmParser &parser, OperationState &result) {
  return parseFormula(parser, result, getStaticSizesAttrName(result.name),
                      getFirstAttrName(result.name));
}

void IterateOp::print(OpAsmPrinter &p) {
  printFormula(p, *this, getDynamicSizes(), getStaticSizes(),
               getStaticSizesAttrName(), getFirstAttrName());
}

LogicalResult IterateOp::verify() {
  ArrayRef<int64_t> sizes = getStaticSizes();
  if (sizes.size() != 1)
    return emitOpError() // (C1)
           << "expected 1 size but got " << sizes.size();
  if (failed(verifySizes(*this, sizes)))
    return failure();
  Type element = getElementTypeOrSelf(getType());
  auto arguments = getArguments();
  if (arguments.size() != 2 || !arguments[0].getType().isIndex() ||
      arguments[1].getType() != element)
    return emitOpError() // (C2)
           << "expected a body with an 'index' and an element of type "
           << element << " as arguments";
  int64_t size = sizes.front();
  return verifyResult(*this, ShapedType::isDynamic(size) ? size : size + 1);
}

LogicalResult IterateOp::verifyInputs(const ValueFacts &) {
  return verifyReads(getBody());
}

//===----------------------------------------------------------------------===//
// ReadOp and SearchOp
//===----------------------------------------------------------------------===//

LogicalResult ReadOp::verify() {
  int64_t rank = getSourceType().getRank();
  if (int64_t(getIndices().size()) != rank)
    return emitOpError() // (C1)
           << "expected " << rank << (rank == 1 ? " index" : " indices")
           << " for " << getSource().getType() << " but got "
           << getIndices().size();
  if (getFill() && getFill().getType() != getType())
    return emitOpError() // (C2)
           << "expected an 'else' of type " << getType() << " but got "
           << getFill().getType();
  return success();
}

Size ReadOp::getSourceSize(unsigned dim) {
  if (isa<MemRefType>(getSourceType()))
    return getFormula().getIndexBounds()[dim];
  return Size::of(getSource(), dim);
}

bool ReadOp::isKnownInside(unsigned dim) {
  Value index = getIndices()[dim];
  Size size = getSourceSize(dim).resolve();
  APInt constant;
  if (matchPattern(index, m_ConstantInt(&constant)))
    return constant.sge(0) && size.getConstant() &&
           constant.getSExtValue() < *size.getConstant();
  // A size that the host gives is 0 or more.
  if (auto port = dyn_cast<BlockArgument>(index);
      port && isa<StepOp>(port.getOwner()->getParentOp())) {
    std::optional<int64_t> rest = size.getDifference(Size::of(index));
    return rest && *rest > 0;
  }
  // An index of the formula, perhaps with a constant added.
  int64_t added = 0;
  if (auto add = index.getDefiningOp<arith::AddIOp>();
      add && matchPattern(add.getRhs(), m_ConstantInt(&constant)) &&
      constant.sge(0) && constant.getActiveBits() < 32) {
    index = add.getLhs();
    added = constant.getSExtValue();
  }
  auto argument = dyn_cast<BlockArgument>(index);
  if (!argument || argument.getOwner() != (*this)->getBlock())
    return false;
  SmallVector<Size> bounds = getFormula().getIndexBounds();
  if (argument.getArgNumber() >= bounds.size())
    return false;
  std::optional<int64_t> rest =
      size.getDifference(bounds[argument.getArgNumber()]);
  return rest && *rest >= added;
}

LogicalResult SearchOp::verify() {
  bool isTable = getSource().getType().getRank() == 2;
  if (isTable != bool(getRow()))
    return emitOpError() // (C1)
           << (isTable ? "expected a row of the table to search in"
                       : "expected no row of an array of one dimension");
  return success();
}

//===----------------------------------------------------------------------===//
// Sums and reductions
//===----------------------------------------------------------------------===//

/// The sizes of `array`, of all its dimensions but the last.
static SmallVector<Size> getRowSizes(Value array) {
  SmallVector<Size> sizes;
  if (cast<ShapedType>(array.getType()).getRank() == 2)
    sizes.push_back(Size::of(array, 0));
  return sizes;
}

/// Those of the rows of `array`, if it is a table.
static std::optional<Size> getTableRows(Value array) {
  SmallVector<Size> sizes = getRowSizes(array);
  return sizes.empty() ? std::nullopt : std::optional<Size>(sizes.front());
}

SmallVector<Size> ScanOp::getResultSizes(Adaptor adaptor) {
  Value source = adaptor.getSource();
  SmallVector<Size> sizes = getRowSizes(source);
  Size size = Size::of(source, sizes.size());
  sizes.push_back(adaptor.getInclusive() ? size : size + 1);
  return sizes;
}

LogicalResult ScanOp::verify() {
  if (!getSums())
    return success();
  auto type = cast<ShapedType>(getSource().getType());
  if (type.getRank() != 1 ||
      getElementTypeOrSelf(getSums().getType()) != type.getElementType())
    return emitOpError() // (C1)
           << "expected stored sums to be of an array of one dimension, with "
              "elements like its own, but got "
           << getSums().getType() << " for " << type;
  return success();
}

SmallVector<Size> TileSumsOp::getResultSizes(Adaptor adaptor) {
  return {Size::of(adaptor.getSource(), 0).ceilDiv(int64_t(1) << logTile)};
}

int64_t TileSumsOp::getMostWidth(TargetAttr) {
  // As many threads as there are sums.
  return 1;
}

int64_t TileSumsOp::getLoadBits() { return getType().getElementTypeBitWidth(); }

std::optional<Size> IterateOp::getSharedRows() { return std::nullopt; }

std::optional<Size> ScanOp::getSharedRows() {
  return getTableRows(getSource());
}

SmallVector<Size> ReduceOp::getResultSizes(Adaptor adaptor) {
  SmallVector<Size> sizes = getRowSizes(adaptor.getSource());
  if (sizes.empty())
    sizes.push_back(
        Size::constant(adaptor.getSource().getContext(), /*value=*/1));
  return sizes;
}

std::optional<Size> ReduceOp::getSharedRows() {
  return getTableRows(getSource());
}

//===----------------------------------------------------------------------===//
// Picks
//===----------------------------------------------------------------------===//

/// The number that `index` is a multiple of `factor` by, or 0.
static int64_t getStride(Value index, Value factor) {
  auto product = index.getDefiningOp<arith::MulIOp>();
  APInt stride;
  if (!product || product.getLhs() != factor ||
      !matchPattern(product.getRhs(), m_ConstantInt(&stride)) ||
      !stride.isStrictlyPositive() || stride.getActiveBits() > 31)
    return 0;
  return stride.getSExtValue();
}

ReadOp MapOp::getPickingRead() {
  if (getArguments().size() != 2)
    return {};
  Value row = getArguments()[0], column = getArguments()[1];
  for (ReadOp read : getBody().getOps<ReadOp>()) {
    Value source = read.getSource();
    if (read.getIndices().size() != 2 || !source.getDefiningOp() ||
        source.getDefiningOp<SharedOpInterface>() ||
        read.getIndices()[0] != row)
      continue;
    int64_t stride = getStride(read.getIndices()[1], column);
    SmallVector<Size> sizes = getSizes();
    // All columns that are multiples of the stride, and no more.
    if (stride > 1 && sizes[0].isSameAs(Size::of(source, 0)) &&
        sizes[1].isSameAs(Size::of(source, 1).ceilDiv(stride)))
      return read;
  }
  return {};
}

Value MapOp::getPickedFrom() {
  ReadOp read = getPickingRead();
  return read ? read.getSource() : Value();
}

int64_t MapOp::getPickStride() {
  return getStride(getPickingRead().getIndices()[1], getArguments()[1]);
}
