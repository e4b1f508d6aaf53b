//===- NSAStepOp.cpp - The step operation and its ports -------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Identifier.h"

#include "nsa/IR/Metadata.h"

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

int64_t StepOp::getExtentOffset(BlockArgument port, unsigned dim) {
  std::optional<ArrayAttr> offsets = getExtentOffsets();
  if (!offsets)
    return 0;
  auto list = cast<DenseI64ArrayAttr>((*offsets)[port.getArgNumber()]);
  return dim < static_cast<size_t>(list.size()) ? list[dim] : 0;
}

/// What is known of the array behind a port; may be empty.
static DictionaryAttr getPortAttrDict(StepOp step, BlockArgument port) {
  std::optional<ArrayAttr> attrs = step.getPortAttrs();
  if (!attrs)
    return DictionaryAttr::get(step.getContext());
  return cast<DictionaryAttr>((*attrs)[port.getArgNumber()]);
}

static constexpr StringLiteral alignmentName = "alignment",
                               layoutName = "layout", optionalName = "optional",
                               inOutName = "inout", expectedName = "expected";

int64_t StepOp::getAlignment(BlockArgument port) {
  if (auto alignment =
          getPortAttrDict(*this, port).getAs<IntegerAttr>(alignmentName))
    return alignment.getInt();
  return cast<ShapedType>(port.getType()).getElementTypeBitWidth() / 8;
}

StridedLayoutAttr StepOp::getLayout(BlockArgument port) {
  return getPortAttrDict(*this, port).getAs<StridedLayoutAttr>(layoutName);
}

bool StepOp::isOptional(BlockArgument port) {
  return getPortAttrDict(*this, port).contains(optionalName);
}

bool StepOp::isInOut(BlockArgument port) {
  return getPortAttrDict(*this, port).contains(inOutName);
}

std::optional<int64_t> StepOp::getExpected(BlockArgument port) {
  auto expected = getPortAttrDict(*this, port).getAs<IntegerAttr>(expectedName);
  return expected ? std::optional<int64_t>(expected.getInt()) : std::nullopt;
}

BlockArgument StepOp::addInOutPort(StringRef name, MemRefType type,
                                   Location loc) {
  Builder b(getContext());
  StringAttr free = b.getStringAttr(name);
  for (unsigned number = 1; llvm::is_contained(getPortNames(), free); ++number)
    free = b.getStringAttr(name + Twine(number));
  auto append = [](ArrayAttr attrs, Attribute attr) {
    SmallVector<Attribute> values(attrs.getValue());
    values.push_back(attr);
    return ArrayAttr::get(attrs.getContext(), values);
  };
  setPortNamesAttr(append(getPortNames(), free));
  setExtentsAttr(append(getExtents(), b.getDenseI64ArrayAttr({})));
  if (std::optional<ArrayAttr> offsets = getExtentOffsets())
    setExtentOffsetsAttr(append(*offsets, b.getDenseI64ArrayAttr({})));
  SmallVector<Attribute> none(getBody().getNumArguments(),
                              b.getDictionaryAttr({}));
  setPortAttrsAttr(
      append(getPortAttrs().value_or(b.getArrayAttr(none)),
             b.getDictionaryAttr(b.getNamedAttr(inOutName, b.getUnitAttr()))));
  return getBody().addArgument(type, loc);
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
  SmallVector<int64_t> offsets;
  NamedAttrList attrs;
};
} // namespace

static ParseResult parsePort(OpAsmParser &parser, ParsedPort &port) {
  StringRef direction;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseOptionalKeyword(&direction, {"in", "out", inOutName}))
    return parser.emitError(loc, "expected a port: 'in', 'out' or 'inout'");
  bool isOptional = succeeded(parser.parseOptionalKeyword(optionalName));
  if (parser.parseArgument(port.argument))
    return failure();
  if (succeeded(parser.parseOptionalLSquare())) {
    auto parseExtent = [&]() -> ParseResult {
      OpAsmParser::UnresolvedOperand &extent =
          port.extents.emplace_back().emplace();
      int64_t &offset = port.offsets.emplace_back(0);
      if (succeeded(parser.parseOptionalQuestion())) {
        port.extents.back().reset();
        return success();
      }
      if (parser.parseOperand(extent, /*allowResultNumber=*/false))
        return failure();
      if (succeeded(parser.parseOptionalPlus()))
        return parser.parseInteger(offset);
      return success();
    };
    if (parser.parseCommaSeparatedList(parseExtent) || parser.parseRSquare())
      return failure();
  }
  if (parser.parseColon())
    return failure();
  SMLoc typeLoc = parser.getCurrentLocation();
  if (parser.parseType(port.argument.type) ||
      parser.parseOptionalAttrDict(port.attrs))
    return failure();
  UnitAttr yes = parser.getBuilder().getUnitAttr();
  if (isOptional)
    port.attrs.set(optionalName, yes);
  if (direction == inOutName)
    port.attrs.set(inOutName, yes);
  bool isOut = StepOp::isOut(port.argument.type);
  bool isSet = isa<MetadataType, MetadataRefType>(port.argument.type);
  if (isOut != (direction != "in"))
    return parser.emitError(typeLoc)
           << "expected an '" << (direction == inOutName ? inOutName : "out")
           << (isOut ? "' port for a " : "' port to be a ")
           << (isSet ? "metadata_ref" : "memref") << " but got '" << direction
           << "' with type " << port.argument.type;
  return success();
}

ParseResult StepOp::parse(OpAsmParser &parser, OperationState &result) {
  Builder &b = parser.getBuilder();
  StringAttr name;
  if (parser.parseSymbolName(name, SymbolTable::getSymbolAttrName(),
                             result.attributes))
    return failure();

  SmallVector<ParsedPort, 0> ports;
  if (parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Paren, [&] {
        return parsePort(parser, ports.emplace_back());
      }))
    return failure();

  SmallVector<Attribute> names, extents, offsets, attrs;
  bool hasOffsets = false, hasAttrs = false;
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
    offsets.push_back(b.getDenseI64ArrayAttr(port.offsets));
    attrs.push_back(port.attrs.getDictionary(b.getContext()));
    hasOffsets |= llvm::any_of(port.offsets, [](int64_t n) { return n != 0; });
    hasAttrs |= !port.attrs.empty();
  }
  result.addAttribute(getPortNamesAttrName(result.name), b.getArrayAttr(names));
  result.addAttribute(getExtentsAttrName(result.name), b.getArrayAttr(extents));
  if (hasOffsets)
    result.addAttribute(getExtentOffsetsAttrName(result.name),
                        b.getArrayAttr(offsets));
  if (hasAttrs)
    result.addAttribute(getPortAttrsAttrName(result.name),
                        b.getArrayAttr(attrs));

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
    p << (isInOut(port) ? "inout " : isOut(port.getType()) ? "out " : "in ");
    if (isOptional(port))
      p << optionalName << ' ';
    p.printRegionArgument(port, /*argAttrs=*/{}, /*omitType=*/true);
    auto extents = cast<DenseI64ArrayAttr>(getExtents()[port.getArgNumber()]);
    if (!extents.empty()) {
      p << '[';
      llvm::interleaveComma(
          llvm::enumerate(extents.asArrayRef()), p, [&](auto extent) {
            if (extent.value() < 0) {
              p << '?';
              return;
            }
            p << getBody().getArgument(extent.value());
            if (int64_t offset = getExtentOffset(port, extent.index()))
              p << " + " << offset;
          });
      p << ']';
    }
    p << " : " << port.getType();
    p.printOptionalAttrDict(getPortAttrDict(*this, port).getValue(),
                            {optionalName, inOutName});
  });
  p << ')';
  p.printOptionalAttrDictWithKeyword(
      (*this)->getAttrs(),
      {getSymNameAttrName(), getPortNamesAttrName(), getExtentsAttrName(),
       getExtentOffsetsAttrName(), getPortAttrsAttrName()});
  p << ' ';
  p.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

//===----------------------------------------------------------------------===//
// Verification
//===----------------------------------------------------------------------===//

/// The error at a port, as if it were of the step.
static InFlightDiagnostic emitPortError(BlockArgument port) {
  return emitError(port.getLoc()) << "'nsa.step' op ";
}

/// Whether arrays of rank 1 or 2 have such strides: rows are contiguous.
static bool areStrides(ArrayRef<int64_t> strides) {
  return llvm::all_of(strides,
                      [](int64_t stride) {
                        return ShapedType::isDynamic(stride) || stride > 0;
                      }) &&
         (strides.size() != 2 || strides.back() == 1);
}

static LogicalResult verifyIn(StepOp step, BlockArgument port) {
  Type type = port.getType();
  if (!isRead(type))
    return emitPortError(port) // (C2)
           << "expected 'in' port '" << step.getPortName(port)
           << "' to be an index or a tensor of rank 1 or 2 of i8, i16, i32, "
              "i64, bf16 or f32, but got "
           << type;
  return success();
}

static LogicalResult verifyOut(StepOp step, BlockArgument port) {
  auto type = cast<MemRefType>(port.getType());
  SmallVector<int64_t> strides;
  int64_t offset;
  bool isRight = isDestination(type) && !type.getMemorySpace() &&
                 succeeded(type.getStridesAndOffset(strides, offset)) &&
                 offset == 0 && areStrides(strides);
  if (!isRight)
    return emitPortError(port) // (C3)
           << "expected 'out' port '" << step.getPortName(port)
           << "' to be a memref of rank 1 or 2 of i8, i16, i32, i64, bf16 or "
              "f32 with a strided layout without offset and, for rank 2, an "
              "inner stride of 1, but got "
           << type;
  return success();
}

static LogicalResult verifyExtents(StepOp step, BlockArgument port,
                                   ArrayRef<int64_t> extents) {
  auto set = dyn_cast<MetadataType>(port.getType());
  if (extents.empty() && !set)
    return success();
  StringRef name = step.getPortName(port);
  if (set) {
    unsigned count = getNumMetadataSizes(set.getMode());
    if (extents.size() != count || llvm::is_contained(extents, -1))
      return emitPortError(port) // (C4)
             << "expected the " << count << " sizes of a "
             << stringifyMetadataMode(set.getMode()) << " set on port '" << name
             << "', but got " << extents.size();
  }
  auto type = dyn_cast<RankedTensorType>(port.getType());
  if (!set && (!type || static_cast<size_t>(type.getRank()) != extents.size()))
    return emitPortError(port) // (C4)
           << "expected one extent for each dimension of port '" << name
           << "', but got " << extents.size() << " for " << port.getType();
  for (auto [dim, number] : llvm::enumerate(extents)) {
    if (number < 0)
      continue;
    if (number >= step.getBody().getNumArguments() ||
        !step.getBody().getArgument(number).getType().isIndex())
      return emitPortError(port) // (C4)
             << "expected extent " << dim << " of port '" << name
             << "' to be an index port";
    int64_t offset = step.getExtentOffset(port, dim);
    if (offset < 0 || (set && offset != 0))
      return emitPortError(port) // (C4)
             << "expected extent " << dim << " of port '" << name << "' to add "
             << (set ? "nothing" : "0 or more") << ", but got " << offset;
    if (type && !type.isDynamicDim(dim))
      return emitPortError(port) // (C4)
             << "expected dimension " << dim << " of port '" << name
             << "' to be dynamic because it has an extent, but got " << type;
  }
  return success();
}

/// Whether `attr` is an integer from `least` to `most`.
static bool isNumber(Attribute attr, int64_t least, int64_t most) {
  auto number = dyn_cast<IntegerAttr>(attr);
  return number && number.getInt() >= least && number.getInt() <= most;
}

static LogicalResult verifyPortAttr(StepOp step, BlockArgument port,
                                    NamedAttribute attr) {
  StringRef key = attr.getName();
  Attribute value = attr.getValue();
  auto type = dyn_cast<ShapedType>(port.getType());
  auto expect = [&](bool isRight, StringRef what,
                    StringRef wanted) -> LogicalResult {
    if (isRight)
      return success();
    InFlightDiagnostic diag = emitPortError(port)
                              << "expected " << what << " '"
                              << step.getPortName(port) << "' to be " << wanted;
    if (!isa<UnitAttr>(value))
      diag << ", but got " << value;
    return diag;
  };
  if (key == optionalName)
    return expect(StepOp::isOut(port.getType()) && isa<UnitAttr>(value), // (C9)
                  "port",
                  "written, because it is optional: what is read has to be "
                  "there");
  if (key == inOutName)
    return expect(isa<MemRefType>(port.getType()) && isa<UnitAttr>(value) &&
                      !step.isOptional(port), // (C10)
                  "'inout' port",
                  "one array that is there, because it is read");
  if (key == expectedName)
    return expect(
        port.getType().isIndex() && isNumber(value, 0, INT32_MAX), // (C13)
        "what is 'expected' of port", "a number from 0 to 2^31-1, on an index");
  if (key == alignmentName)
    return expect(
        type && isNumber(value, type.getElementTypeBitWidth() / 8, 1 << 20) &&
            llvm::isPowerOf2_64(cast<IntegerAttr>(value).getInt()), // (C7)
        "the alignment of port",
        "a power of 2 from the size of an element to 2^20");
  if (key == layoutName) {
    auto layout = dyn_cast<StridedLayoutAttr>(value);
    return expect(
        isa<RankedTensorType>(port.getType()) && layout &&
            layout.getOffset() == 0 &&
            layout.getStrides().size() == size_t(type.getRank()) &&
            areStrides(layout.getStrides()), // (C7)
        "the layout of port",
        "strided, on a tensor, with a stride for each dimension, no offset "
        "and, for rank 2, an inner stride of 1");
  }
  return emitPortError(port) // (C7)
         << "expected 'alignment', 'layout' or 'expected' on port '"
         << step.getPortName(port) << "', but got '" << key << "'";
}

/// Whether `attr`, if there, has an entry for each port.
static bool isPerPort(std::optional<ArrayAttr> attr, Block &block) {
  return !attr || attr->size() == block.getNumArguments();
}

LogicalResult StepOp::verify() {
  if (std::string problem = getNameProblem(getSymName(), NameOf::Step);
      !problem.empty())
    return emitOpError() // (C1)
           << "expected another name for the step than '" << getSymName()
           << "', because " << problem;
  Block &block = getBody().front();
  if (getPortNames().size() != block.getNumArguments() ||
      getExtents().size() != block.getNumArguments() ||
      !isPerPort(getExtentOffsets(), block) ||
      !isPerPort(getPortAttrs(), block))
    return emitOpError() // (C1)
           << "expected " << block.getNumArguments()
           << " port names and lists of extents, one for each port, but got "
           << getPortNames().size() << " and " << getExtents().size();
  llvm::StringSet<> names;
  for (BlockArgument port : block.getArguments()) {
    StringRef name = getPortName(port);
    if (std::string problem = getNameProblem(name, NameOf::Port);
        !problem.empty())
      return emitPortError(port) // (C1)
             << "expected another name for a port than '" << name
             << "', because " << problem;
    if (!names.insert(name).second)
      return emitPortError(port) // (C1)
             << "expected port names to be unique, but got '" << name
             << "' twice";
    Type type = port.getType();
    if (failed(isa<MemRefType>(type) ? verifyOut(*this, port)
               : isOut(type)         ? success()
                                     : verifyIn(*this, port)) ||
        !llvm::all_of(getPortAttrDict(*this, port), [&](NamedAttribute attr) {
          return succeeded(verifyPortAttr(*this, port, attr));
        }))
      return failure();
    auto extents = cast<DenseI64ArrayAttr>(getExtents()[port.getArgNumber()]);
    if (failed(verifyExtents(*this, port, extents)))
      return failure();
  }
  return success();
}

LogicalResult StepOp::verifyDestinations(Operation *copy,
                                         ValueRange destinations) {
  if (destinations.empty())
    return copy->emitOpError("expected at least one destination"); // (C2)
  llvm::SmallPtrSet<Value, 16> seen;
  for (Value destination : destinations) {
    auto port = dyn_cast<BlockArgument>(destination);
    if (!port || port.getOwner() != &getBody().front())
      return copy->emitOpError() // (C1)
             << "expected every destination to be an 'out' port of the step";
    if (!seen.insert(destination).second)
      return copy->emitOpError() // (C2)
             << "expected each destination once, but got '" << getPortName(port)
             << "' twice";
  }
  return success();
}

/// What is wrong with a read of an array that is written, or nothing.
static std::string getReadProblem(StepOp step, ReadOp read) {
  auto port = cast<BlockArgument>(read.getSource());
  std::string name = ("'" + step.getPortName(port) + "'").str();
  if (!step.isInOut(port))
    return "expected port " + name +
           " to be 'in' or 'inout', because it is read";
  auto map = dyn_cast<MapOp>(read->getParentOp());
  if (!map)
    return "expected a read of 'inout' port " + name +
           " to be in an 'nsa.map', which reads an element once";
  if (!llvm::equal(read.getIndices(), map.getArguments()))
    return "expected the indices of the 'nsa.map' itself, because other "
           "elements of 'inout' port " +
           name + " may have been written before this read";
  for (Operation *user : map->getUsers()) {
    auto copy = dyn_cast<CopyOp>(user);
    if (!copy || copy.getValue() != map.getResult() ||
        copy.getMask() == map.getResult() ||
        copy.getDestinations() != ValueRange(port))
      return "expected its 'nsa.map' to be stored to 'inout' port " + name +
             " and used nowhere else, because what reads it elsewhere may do "
             "so after it was written";
    if (!copy.getPlaces().empty())
      return "expected its 'nsa.map' to be stored without 'at', because "
             "another read of 'inout' port " +
             name + " may come after such a store";
  }
  return {};
}

/// The ports that `op` writes.
static ValueRange getWritten(Operation *op) {
  if (auto copy = dyn_cast<CopyOp>(op))
    return copy.getDestinations();
  auto copy = dyn_cast<CopyMetadataOp>(op);
  return copy ? copy.getDestinations() : ValueRange();
}

LogicalResult StepOp::verifyRegions() {
  Block &body = getBody().front();
  auto verifyRead = [&](ReadOp read) -> LogicalResult { // (C11)
    auto port = dyn_cast<BlockArgument>(read.getSource());
    if (!port || !isOut(port.getType()))
      return success();
    std::string problem = getReadProblem(*this, read);
    return problem.empty() ? success()
                           : LogicalResult(read.emitOpError() << problem);
  };
  if (failed(verifyEach<ReadOp>(*this, verifyRead)))
    return failure();
  for (Operation &op : body)
    if (!isa<LaunchOp, CopyOp, CopyMetadataOp>(op) && !isValue(&op) &&
        failed(verifySize(&op))) // (C6)
      return failure();
  if (failed(verifyValues(body))) // (C8)
    return failure();
  for (CopyOp copy : body.getOps<CopyOp>())
    if (failed(copy.verifyElements()))
      return failure();

  DenseMap<Value, Operation *> writers;
  auto verifyWriter = [&](Operation *copy) -> LogicalResult {
    for (Value destination : getWritten(copy)) {
      auto [it, inserted] = writers.try_emplace(destination, copy);
      if (inserted || it->second == copy)
        continue;
      InFlightDiagnostic diag = // (C5)
          copy->emitOpError()
          << "writes to port '" << getPortName(cast<BlockArgument>(destination))
          << "', which another copy writes to";
      diag.attachNote(it->second->getLoc()) << "the other copy is here";
      return diag;
    }
    return success();
  };
  auto verifyStored = [&](ScanOp scan) -> LogicalResult { // (C12)
    Value sums = scan.getSums();
    if (!sums)
      return success();
    Operation *writer = writers.lookup(sums);
    auto copy = dyn_cast_or_null<CopyOp>(writer);
    if (!copy || !isInOut(cast<BlockArgument>(sums)) || !copy.isPlain() ||
        copy.getFrom() != 0 || !copy.getValue().getDefiningOp<TileSumsOp>())
      return scan.emitOpError()
             << "expected its stored sums to be an 'inout' port that "
                "an 'nsa.tile_sums' is copied to";
    auto reader = scan->getParentOfType<LaunchOp>();
    auto before = copy->getParentOfType<LaunchOp>();
    if ((reader && before && before->isBeforeInBlock(reader)) ||
        (!reader && !before))
      return success();
    return scan.emitOpError() << "expected the launch that stores its sums to "
                                 "come before, because blocks of one launch do "
                                 "not wait for one another";
  };
  if (failed(verifyEach<Operation *>(*this, verifyWriter)) ||
      failed(verifyEach<ScanOp>(*this, verifyStored)))
    return failure();
  for (BlockArgument port : body.getArguments())
    if (isOut(port.getType()) && !writers.contains(port))
      return emitPortError(port) // (C5)
             << "expected a copy to 'out' port '" << getPortName(port)
             << "', which nothing writes";
  return success();
}
