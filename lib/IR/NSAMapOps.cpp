//===- NSAMapOps.cpp - Syntax, sizes and checks of formulas ---------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/IR/NSADialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

using namespace mlir;
using namespace nsa;

//===----------------------------------------------------------------------===//
// MapOp
//===----------------------------------------------------------------------===//

SmallVector<Size> MapOp::getSizes() {
  SmallVector<Size> sizes;
  OperandRange operands = getDynamicSizes();
  for (int64_t size : getStaticSizes()) {
    if (!ShapedType::isDynamic(size)) {
      sizes.push_back(Size::constant(getContext(), size));
      continue;
    }
    // Too few are diagnosed where the map is verified.
    sizes.push_back(operands.empty() ? Size() : Size::of(operands.front()));
    operands = operands.drop_front(!operands.empty());
  }
  return sizes;
}

LogicalResult MapOp::reifyResultShapes(OpBuilder &b,
                                       ReifiedRankedShapedTypeDims &dims) {
  dims.push_back(nsa::getSizes(b, getLoc(), getResult()));
  return success();
}

void MapOp::getAsmBlockArgumentNames(Region &region,
                                     OpAsmSetValueNameFn setName) {
  static constexpr StringLiteral names[] = {"r", "c"};
  for (auto [argument, name] : llvm::zip(region.getArguments(), names))
    setName(argument, name);
}

ParseResult MapOp::parse(OpAsmParser &parser, OperationState &result) {
  Builder &b = parser.getBuilder();
  SmallVector<OpAsmParser::Argument> indices;
  SmallVector<OpAsmParser::UnresolvedOperand> sizes;
  DenseI64ArrayAttr staticSizes;
  Type type;
  if (parser.parseArgumentList(indices, OpAsmParser::Delimiter::Paren) ||
      parser.parseKeyword("in") ||
      parseDynamicIndexList(parser, sizes, staticSizes,
                            /*valueTypes=*/nullptr,
                            OpAsmParser::Delimiter::Paren) ||
      parser.parseColonType(type) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes) ||
      parser.resolveOperands(sizes, b.getIndexType(), result.operands))
    return failure();
  for (OpAsmParser::Argument &index : indices)
    index.type = b.getIndexType();
  result.addAttribute(getStaticSizesAttrName(result.name), staticSizes);
  result.addTypes(type);
  return parser.parseRegion(*result.addRegion(), indices);
}

void MapOp::print(OpAsmPrinter &p) {
  p << '(';
  llvm::interleaveComma(getIndices(), p);
  p << ") in ";
  printDynamicIndexList(p, *this, getDynamicSizes(), getStaticSizes(),
                        /*valueTypes=*/TypeRange(),
                        OpAsmParser::Delimiter::Paren);
  p << " : " << getType();
  p.printOptionalAttrDictWithKeyword((*this)->getAttrs(),
                                     {getStaticSizesAttrName()});
  p << ' ';
  p.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

LogicalResult MapOp::verify() {
  ArrayRef<int64_t> sizes = getStaticSizes();
  if (sizes.empty() || sizes.size() > 2)
    return emitOpError() // (C1)
           << "expected 1 or 2 sizes but got " << sizes.size();
  if (size_t(llvm::count(sizes, ShapedType::kDynamic)) != getNumOperands())
    return emitOpError() // (C1)
           << "expected an operand for each size that is not a constant";
  for (int64_t size : sizes)
    if (size < 0 && !ShapedType::isDynamic(size))
      return emitOpError() // (C1)
             << "expected sizes of 0 or more, but got " << size;
  auto isIndex = [](BlockArgument argument) {
    return argument.getType().isIndex();
  };
  if (getIndices().size() != sizes.size() ||
      !llvm::all_of(getIndices(), isIndex))
    return emitOpError() // (C2)
           << "expected a body with " << sizes.size()
           << (sizes.size() == 1 ? " argument" : " arguments")
           << " of type 'index'";
  if (cast<ShapedType>(getType()).getShape() != sizes)
    return emitOpError() // (C3)
           << "expected a result of type "
           << RankedTensorType::get(
                  sizes, cast<ShapedType>(getType()).getElementType())
           << " but got " << getType();
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
  auto isScalar = [](Type type) {
    return type.isIndex() || type.isF32() || type.isBF16() ||
           type.isSignlessInteger(1) || type.isSignlessInteger(8) ||
           type.isSignlessInteger(16) || type.isSignlessInteger(32) ||
           type.isSignlessInteger(64);
  };
  bool isMove = isa<arith::SelectOp, arith::ConstantOp, arith::BitcastOp,
                    arith::ExtFOp, arith::TruncFOp>(op);
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
    bool isNone =
        (overflow &&
         overflow.getValue() == arith::IntegerOverflowFlags::none) ||
        (fast && fast.getValue() == arith::FastMathFlags::none);
    if (!isNone && attr.getName() != "value" && attr.getName() != "predicate")
      return "expected no flag, because it promises what contents of a device "
             "array can break";
  }
  return std::nullopt;
}

LogicalResult MapOp::verifyRegions() {
  Block &body = getBody().front();
  if (body.empty() || !isa<YieldOp>(body.back()))
    return emitOpError("expected a body that ends in 'nsa.yield'");
  for (Operation &op : body)
    if (std::optional<std::string> problem = getFormulaProblem(op))
      return op.emitOpError() << *problem; // (C4)
  Type element = cast<ShapedType>(getType()).getElementType();
  if (getYielded().getType() != element)
    return body.back().emitOpError() // (C3)
           << "expected an element of type " << element << " but got "
           << getYielded().getType();
  return success();
}

LogicalResult MapOp::verifyInputs(const ValueFacts &) {
  for (ReadOp read : getBody().getOps<ReadOp>()) {
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
// ReadOp and SearchOp
//===----------------------------------------------------------------------===//

ParseResult ReadOp::parse(OpAsmParser &parser, OperationState &result) {
  OpAsmParser::UnresolvedOperand source;
  SmallVector<OpAsmParser::UnresolvedOperand> indices, fill;
  Type type;
  if (parser.parseOperand(source) ||
      parser.parseOperandList(indices, OpAsmParser::Delimiter::Square))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("else")) &&
      parser.parseOperand(fill.emplace_back()))
    return failure();
  SMLoc location;
  if (parser.parseOptionalAttrDict(result.attributes) ||
      parser.getCurrentLocation(&location) || parser.parseColonType(type))
    return failure();
  auto array = dyn_cast<RankedTensorType>(type);
  if (!array)
    return parser.emitError(location, "expected the type of an array, such as "
                                      "tensor<?xi32>");
  Type element = array.getElementType();
  result.addTypes(element);
  Type index = parser.getBuilder().getIndexType();
  llvm::copy(ArrayRef<int32_t>{1, int32_t(indices.size()),
                               int32_t(fill.size())},
             result.getOrAddProperties<ReadOp::Properties>()
                 .operandSegmentSizes.begin());
  return failure(parser.resolveOperand(source, type, result.operands) ||
                 parser.resolveOperands(indices, index, result.operands) ||
                 parser.resolveOperands(fill, element, result.operands));
}

void ReadOp::print(OpAsmPrinter &p) {
  p << ' ' << getSource() << '[' << getIndices() << ']';
  if (getFill())
    p << " else " << getFill();
  p.printOptionalAttrDict((*this)->getAttrs(), {getOperandSegmentSizesAttrName()});
  p << " : " << getSource().getType();
}

LogicalResult ReadOp::verify() {
  int64_t rank = getSource().getType().getRank();
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

bool ReadOp::isKnownInside(unsigned dim) {
  Value index = getIndices()[dim];
  Size size = Size::of(getSource(), dim).resolve();
  APInt constant;
  if (matchPattern(index, m_ConstantInt(&constant)))
    return constant.sge(0) && size.getConstant() &&
           constant.getSExtValue() < *size.getConstant();
  // An index of the map, perhaps with a constant added.
  int64_t added = 0;
  if (auto add = index.getDefiningOp<arith::AddIOp>();
      add && matchPattern(add.getRhs(), m_ConstantInt(&constant)) &&
      constant.sge(0) && constant.getActiveBits() < 32) {
    index = add.getLhs();
    added = constant.getSExtValue();
  }
  auto argument = dyn_cast<BlockArgument>(index);
  if (!argument || argument.getOwner()->getParentOp() != getMap())
    return false;
  std::optional<int64_t> rest =
      size.getDifference(getMap().getSizes()[argument.getArgNumber()]);
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

SmallVector<Size> ScanOp::getResultSizes(Adaptor adaptor) {
  Value source = adaptor.getSource();
  SmallVector<Size> sizes = getRowSizes(source);
  Size size = Size::of(source, sizes.size());
  sizes.push_back(adaptor.getInclusive() ? size : size + 1);
  return sizes;
}

LogicalResult ScanOp::verifyInputs(const ValueFacts &) { return success(); }

SmallVector<Size> ReduceOp::getResultSizes(Adaptor adaptor) {
  SmallVector<Size> sizes = getRowSizes(adaptor.getSource());
  if (sizes.empty())
    sizes.push_back(
        Size::constant(adaptor.getSource().getContext(), /*value=*/1));
  return sizes;
}

LogicalResult ReduceOp::verifyInputs(const ValueFacts &) { return success(); }
