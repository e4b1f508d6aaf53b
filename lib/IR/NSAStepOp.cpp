//===- NSAStepOp.cpp - The step operation and its ports -------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/IR/NSADialect.h"

#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace nsa;

StringRef StepOp::getPortName(unsigned number) {
  return cast<StringAttr>(getPortNames()[number]).getValue();
}

BlockArgument StepOp::getExtent(BlockArgument port, unsigned dim) {
  auto extents = cast<DenseI64ArrayAttr>(getExtents()[port.getArgNumber()]);
  if (dim >= extents.size() || extents[dim] < 0)
    return {};
  return getBody().getArgument(extents[dim]);
}

void StepOp::getAsmBlockArgumentNames(Region &region,
                                      OpAsmSetValueNameFn setName) {
  for (BlockArgument port : region.getArguments())
    setName(port, getPortName(port));
}

//===----------------------------------------------------------------------===//
// Assembly
//===----------------------------------------------------------------------===//

namespace {
/// A port as parsed: extents are names until all ports are known.
struct ParsedPort {
  OpAsmParser::Argument argument;
  SmallVector<std::optional<OpAsmParser::UnresolvedOperand>> extents;
  bool hasExtents = false;
};
} // namespace

static ParseResult parsePort(OpAsmParser &parser, ParsedPort &port) {
  StringRef direction;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseOptionalKeyword(&direction, {"in", "out"}))
    return parser.emitError(loc, "expected a port: 'in' or 'out'");
  if (parser.parseArgument(port.argument))
    return failure();
  if (succeeded(parser.parseOptionalLSquare())) {
    port.hasExtents = true;
    auto parseExtent = [&]() -> ParseResult {
      OpAsmParser::UnresolvedOperand &extent =
          port.extents.emplace_back().emplace();
      if (succeeded(parser.parseOptionalQuestion())) {
        port.extents.back().reset();
        return success();
      }
      return parser.parseOperand(extent, /*allowResultNumber=*/false);
    };
    if (parser.parseCommaSeparatedList(parseExtent) || parser.parseRSquare())
      return failure();
  }
  if (parser.parseColon())
    return failure();
  SMLoc typeLoc = parser.getCurrentLocation();
  if (parser.parseType(port.argument.type))
    return failure();
  bool isOut = StepOp::isOut(port.argument.type);
  if (isOut != (direction == "out"))
    return parser.emitError(typeLoc)
           << "expected "
           << (isOut ? "an 'out' port for a memref"
                     : "an 'out' port to be a memref")
           << " but got '" << direction << "' with type "
           << port.argument.type;
  return success();
}

ParseResult StepOp::parse(OpAsmParser &parser, OperationState &result) {
  Builder &b = parser.getBuilder();
  StringAttr name;
  if (parser.parseSymbolName(name, SymbolTable::getSymbolAttrName(),
                             result.attributes))
    return failure();

  SmallVector<ParsedPort> ports;
  if (parser.parseCommaSeparatedList(
          OpAsmParser::Delimiter::Paren,
          [&] { return parsePort(parser, ports.emplace_back()); }))
    return failure();

  SmallVector<Attribute> names, extents;
  SmallVector<OpAsmParser::Argument> arguments;
  for (ParsedPort &port : ports) {
    arguments.push_back(port.argument);
    names.push_back(b.getStringAttr(port.argument.ssaName.name.drop_front()));
    SmallVector<int64_t> numbers;
    for (auto &extent : port.extents) {
      if (!extent) {
        numbers.push_back(-1);
        continue;
      }
      auto *it = llvm::find_if(ports, [&](ParsedPort &other) {
        return other.argument.ssaName.name == extent->name;
      });
      if (it == ports.end())
        return parser.emitError(extent->location)
               << "expected the extent '" << extent->name
               << "' to be a port of the step";
      numbers.push_back(std::distance(ports.begin(), it));
    }
    extents.push_back(b.getDenseI64ArrayAttr(numbers));
  }
  result.addAttribute(getPortNamesAttrName(result.name),
                      b.getArrayAttr(names));
  result.addAttribute(getExtentsAttrName(result.name),
                      b.getArrayAttr(extents));

  Region *body = result.addRegion();
  if (parser.parseOptionalAttrDictWithKeyword(result.attributes) ||
      parser.parseRegion(*body, arguments))
    return failure();
  if (body->empty())
    body->emplaceBlock();
  return success();
}

void StepOp::print(OpAsmPrinter &p) {
  p << ' ';
  p.printSymbolName(getSymName());
  p << '(';
  llvm::interleaveComma(getBody().getArguments(), p, [&](BlockArgument port) {
    p << (isOut(port.getType()) ? "out " : "in ");
    p.printRegionArgument(port, /*argAttrs=*/{}, /*omitType=*/true);
    auto extents = cast<DenseI64ArrayAttr>(getExtents()[port.getArgNumber()]);
    if (!extents.empty()) {
      p << '[';
      llvm::interleaveComma(extents.asArrayRef(), p, [&](int64_t number) {
        if (number < 0)
          p << '?';
        else
          p << getBody().getArgument(number);
      });
      p << ']';
    }
    p << " : " << port.getType();
  });
  p << ") ";
  p.printOptionalAttrDictWithKeyword(
      (*this)->getAttrs(), {getSymNameAttrName(), getPortNamesAttrName(),
                            getExtentsAttrName()});
  p.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

//===----------------------------------------------------------------------===//
// Verification
//===----------------------------------------------------------------------===//

/// Whether generated C and C++ can use `name` as a name.
static bool isIdentifier(StringRef name) {
  static const llvm::StringSet<> keywords = {
      "_Bool", "_Complex", "_Imaginary", "alignas", "alignof", "and",
      "and_eq", "asm", "auto", "bitand", "bitor", "bool", "break", "case",
      "catch", "char", "char16_t", "char32_t", "class", "compl", "const",
      "const_cast", "constexpr", "continue", "decltype", "default", "delete",
      "do", "double", "dynamic_cast", "else", "enum", "explicit", "export",
      "extern", "false", "float", "for", "friend", "goto", "if", "inline",
      "int", "long", "mutable", "namespace", "new", "noexcept", "not",
      "not_eq", "nullptr", "operator", "or", "or_eq", "private", "protected",
      "public", "register", "reinterpret_cast", "restrict", "return", "short",
      "signed", "sizeof", "static", "static_assert", "static_cast", "struct",
      "switch", "template", "this", "thread_local", "throw", "true", "try",
      "typedef", "typeid", "typename", "union", "unsigned", "using", "virtual",
      "void", "volatile", "wchar_t", "while", "xor", "xor_eq"};
  return !name.empty() && !llvm::isDigit(name[0]) &&
         llvm::all_of(name,
                      [](char c) { return llvm::isAlnum(c) || c == '_'; }) &&
         !keywords.contains(name);
}

/// Whether arrays of `type` are written as well as read.
static bool isStored(Type type) {
  return type.isBF16() || type.isSignlessInteger(8) ||
         type.isSignlessInteger(16) || type.isSignlessInteger(32);
}

static LogicalResult verifyIn(StepOp step, StringRef name, Type type) {
  if (type.isIndex())
    return success();
  auto tensor = dyn_cast<RankedTensorType>(type);
  bool isElementType =
      tensor && (isStored(tensor.getElementType()) ||
                 tensor.getElementType().isSignlessInteger(64));
  if (!isElementType || tensor.getRank() < 1 || tensor.getRank() > 2)
    return step.emitOpError() // (C2)
           << "expected 'in' port '" << name
           << "' to be an index or a tensor of rank 1 or 2 of i8, i16, i32, i64 "
              "or bf16, but got "
           << type;
  return success();
}

static LogicalResult verifyOut(StepOp step, StringRef name, MemRefType type) {
  SmallVector<int64_t> strides;
  int64_t offset;
  bool isRight = isStored(type.getElementType()) &&
                 type.getRank() >= 1 && type.getRank() <= 2 &&
                 !type.getMemorySpace() &&
                 succeeded(type.getStridesAndOffset(strides, offset)) &&
                 offset == 0 &&
                 llvm::all_of(strides,
                              [](int64_t stride) {
                                return ShapedType::isDynamic(stride) ||
                                       stride > 0;
                              }) &&
                 (type.getRank() == 1 || strides.back() == 1);
  if (!isRight)
    return step.emitOpError() // (C3)
           << "expected 'out' port '" << name
           << "' to be a memref of rank 1 or 2 of i8, i16, i32 or bf16 with a "
              "strided layout without offset and, for rank 2, an inner stride "
              "of 1, but got "
           << type;
  return success();
}

static LogicalResult verifyExtents(StepOp step, BlockArgument port,
                                   ArrayRef<int64_t> extents) {
  if (extents.empty())
    return success();
  StringRef name = step.getPortName(port);
  auto type = dyn_cast<RankedTensorType>(port.getType());
  if (!type || static_cast<size_t>(type.getRank()) != extents.size())
    return step.emitOpError() // (C4)
           << "expected one extent for each dimension of port '" << name
           << "', but got " << extents.size() << " for " << port.getType();
  for (auto [dim, number] : llvm::enumerate(extents)) {
    if (number < 0)
      continue;
    if (number >= step.getBody().getNumArguments() ||
        !step.getBody().getArgument(number).getType().isIndex())
      return step.emitOpError() // (C4)
             << "expected extent " << dim << " of port '" << name
             << "' to be an index port";
    if (!type.isDynamicDim(dim))
      return step.emitOpError() // (C4)
             << "expected dimension " << dim << " of port '" << name
             << "' to be dynamic because it has an extent, but got " << type;
  }
  return success();
}

LogicalResult StepOp::verify() {
  if (!isIdentifier(getSymName()))
    return emitOpError() // (C1)
           << "expected the name of a step to be a C identifier, but got '"
           << getSymName() << "'";
  Block &block = getBody().front();
  if (getPortNames().size() != block.getNumArguments() ||
      getExtents().size() != block.getNumArguments())
    return emitOpError() // (C1)
           << "expected " << block.getNumArguments()
           << " port names and lists of extents, one for each port, but got "
           << getPortNames().size() << " and " << getExtents().size();
  llvm::StringSet<> names;
  for (BlockArgument port : block.getArguments()) {
    StringRef name = getPortName(port);
    if (!isIdentifier(name))
      return emitOpError() // (C1)
             << "expected port names to be C identifiers, but got '" << name
             << "'";
    if (!names.insert(name).second)
      return emitOpError() // (C1)
             << "expected port names to be unique, but got '" << name
             << "' twice";
    Type type = port.getType();
    if (failed(isOut(type) ? verifyOut(*this, name, cast<MemRefType>(type))
                           : verifyIn(*this, name, type)))
      return failure();
    auto extents = cast<DenseI64ArrayAttr>(getExtents()[port.getArgNumber()]);
    if (failed(verifyExtents(*this, port, extents)))
      return failure();
  }
  return success();
}

LogicalResult StepOp::verifyRegions() {
  for (Operation &op : getBody().front())
    if (!isa<LaunchOp, CopyOp>(op) && !isValueOrSize(&op))
      return op.emitOpError() // (C6)
             << "is not one of those that the body of a step holds: copies, "
                "launches, nsa values and sizes";
  DenseMap<Value, CopyOp> writers;
  WalkResult result = walk([&](CopyOp copy) {
    for (Value destination : copy.getDestinations()) {
      auto [it, inserted] = writers.try_emplace(destination, copy);
      if (inserted || it->second == copy)
        continue;
      InFlightDiagnostic diag = // (C5)
          copy.emitOpError() << "writes to port '"
                             << getPortName(cast<BlockArgument>(destination))
                             << "', which another copy writes to";
      diag.attachNote(it->second.getLoc()) << "the other copy is here";
      return WalkResult::interrupt();
    }
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}
