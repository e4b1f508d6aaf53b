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
static bool expectSizes(Operation *op, ArrayRef<int64_t> sizes) {
  size_t numDynamic = llvm::count(sizes, ShapedType::kDynamic);
  return expect(op, numDynamic == op->getNumOperands(), // (C1)
                "an operand for each size that is not a constant") &&
         llvm::all_of(sizes, [&](int64_t size) {
           return ShapedType::isDynamic(size) ||
                  expect(op, size >= 0 && size <= INT32_MAX, // (C1)
                         "sizes from 0 to 2147483647, but got ", size);
         });
}

static bool expectResult(Operation *op, ArrayRef<int64_t> shape) {
  auto type = cast<ShapedType>(op->getResult(0).getType());
  return expect(op, type.getShape() == shape, // (C3)
                "a result of type ",
                RankedTensorType::get(shape, type.getElementType()),
                " but got ", type);
}

/// Checks `op` in the body of a map: constraint C4.
static bool expectFormulaOp(Operation &op) {
  if (isa<ReadOp, SearchOp, YieldOp>(op))
    return true;
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
  bool isMove =
      isa<arith::SelectOp, arith::ConstantOp, arith::BitcastOp, arith::ExtFOp,
          arith::TruncFOp, arith::SIToFPOp, arith::UIToFPOp>(op);
  auto expectType = [&](Type type) {
    return expect(&op, isScalar(type),
                  "numbers of type i1, i8, i16, i32, i64, index, bf16 or "
                  "f32") &&
           expect(&op, isMove || !type.isBF16(),
                  "no arithmetic on bf16, which is converted to f32 before");
  };
  auto expectNoFlag = [&](NamedAttribute attr) {
    Attribute value = attr.getValue();
    auto overflow = dyn_cast<arith::IntegerOverflowFlagsAttr>(value);
    auto fast = dyn_cast<arith::FastMathFlagsAttr>(value);
    bool isNone = (overflow &&
                   overflow.getValue() == arith::IntegerOverflowFlags::none) ||
                  (fast && fast.getValue() == arith::FastMathFlags::none);
    return expect(&op,
                  isNone || attr.getName() == "value" ||
                      attr.getName() == "predicate",
                  "no flag, because it promises what contents of a device "
                  "array can break");
  };
  return expect(&op, isKnown,
                "a formula of 'nsa.read', 'nsa.search' and the operations of "
                "'arith' that 'nsa.map' lists") &&
         llvm::all_of(llvm::concat<const Type>(op.getOperandTypes(),
                                               op.getResultTypes()),
                      expectType) &&
         llvm::all_of(op.getAttrs(), expectNoFlag);
}

LogicalResult nsa::verifyFormula(Operation *formula) {
  Block &body = formula->getRegion(0).front();
  Operation *yield = body.getTerminator();
  Type element = getElementTypeOrSelf(formula->getResult(0).getType());
  Type yielded = yield->getOperand(0).getType();
  return success(llvm::all_of(body, expectFormulaOp) && // (C4)
                 expect(yield, yielded == element,      // (C3)
                        "an element of type ", element, " but got ", yielded));
}

/// Whether reads without a fill are known to be inside.
static LogicalResult verifyReads(Region &body) {
  return success(llvm::all_of(body.getOps<ReadOp>(), [](ReadOp read) {
    return read.getFill() ||
           llvm::all_of(llvm::seq<unsigned>(read.getIndices().size()),
                        [&](unsigned dim) {
                          return expect(
                              read, read.isKnownInside(dim), // (C3)
                              "an 'else', because nothing says that index ",
                              dim,
                              " is 0 or more and less than the size of "
                              "dimension ",
                              dim, " of ", read.getSource().getType());
                        });
  }));
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
  auto isIndex = [](BlockArgument argument) {
    return argument.getType().isIndex();
  };
  return success(expect(*this, sizes.size() == 1 || sizes.size() == 2, // (C1)
                        "1 or 2 sizes but got ", sizes.size()) &&
                 expectSizes(*this, sizes) &&
                 expect(*this, // (C2)
                        getArguments().size() == sizes.size() &&
                            llvm::all_of(getArguments(), isIndex),
                        "a body with ", sizes.size(),
                        sizes.size() == 1 ? " argument" : " arguments",
                        " of type 'index'") &&
                 expect(*this, !getPacked() || sizes.size() == 2, // (C6)
                        "two sizes of what is 'packed'") &&
                 expectResult(*this, sizes));
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
  if (!expect(*this, sizes.size() == 1, // (C1)
              "1 size but got ", sizes.size()) ||
      !expectSizes(*this, sizes))
    return failure();
  Type element = getElementTypeOrSelf(getType());
  auto arguments = getArguments();
  int64_t size = sizes.front();
  return success(
      expect(*this, // (C2)
             arguments.size() == 2 && arguments[0].getType().isIndex() &&
                 arguments[1].getType() == element,
             "a body with an 'index' and an element of type ", element,
             " as arguments") &&
      expectResult(*this, ShapedType::isDynamic(size) ? size : size + 1));
}

LogicalResult IterateOp::verifyInputs(const ValueFacts &) {
  return verifyReads(getBody());
}

//===----------------------------------------------------------------------===//
// ReadOp and SearchOp
//===----------------------------------------------------------------------===//

LogicalResult ReadOp::verify() {
  size_t rank = getSourceType().getRank();
  Type fill = getFill() ? getFill().getType() : getType();
  return success(expect(*this, getIndices().size() == rank, // (C1)
                        rank, rank == 1 ? " index" : " indices", " for ",
                        getSource().getType(), " but got ",
                        getIndices().size()) &&
                 expect(*this, fill == getType(), // (C2)
                        "an 'else' of type ", getType(), " but got ", fill));
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
  return success(expect(*this, isTable == bool(getRow()), // (C1)
                        isTable ? "a row of the table to search in"
                                : "no row of an array of one dimension"));
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
  Type sums = getSums() ? getSums().getType() : Type();
  auto type = cast<ShapedType>(getSource().getType());
  return success(
      !sums ||
      expect(*this, // (C1)
             type.getRank() == 1 &&
                 getElementTypeOrSelf(sums) == type.getElementType(),
             "stored sums to be of an array of one dimension, with elements "
             "like its own, but got ",
             sums, " for ", type));
}

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
