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

/// The entry of `attr`, which has one for each port, for `port`.
template <typename AttrType>
static AttrType getEntry(ArrayAttr attr, Value port) {
  return cast<AttrType>(attr[cast<BlockArgument>(port).getArgNumber()]);
}

StringRef StepOp::getPortName(Value port) {
  return getEntry<StringAttr>(of(port).getPortNames(), port).getValue();
}

BlockArgument StepOp::getExtent(Value port, unsigned dim) {
  StepOp step = of(port);
  auto extents = getEntry<DenseI64ArrayAttr>(step.getExtents(), port);
  if (dim >= extents.size() || extents[dim] < 0)
    return {};
  return step.getBody().getArgument(extents[dim]);
}

int64_t StepOp::getExtentOffset(Value port, unsigned dim) {
  std::optional<ArrayAttr> offsets = of(port).getExtentOffsets();
  if (!offsets)
    return 0;
  auto list = getEntry<DenseI64ArrayAttr>(*offsets, port);
  return dim < static_cast<size_t>(list.size()) ? list[dim] : 0;
}

/// What is known of the array behind a port; may be empty.
static DictionaryAttr getPortAttrDict(Value port) {
  std::optional<ArrayAttr> attrs = StepOp::of(port).getPortAttrs();
  return attrs ? getEntry<DictionaryAttr>(*attrs, port)
               : DictionaryAttr::get(port.getContext());
}

static constexpr StringLiteral alignmentName = "alignment",
                               layoutName = "layout", optionalName = "optional",
                               inOutName = "inout", expectedName = "expected";

int64_t StepOp::getAlignment(Value port) {
  if (auto alignment = getPortAttrDict(port).getAs<IntegerAttr>(alignmentName))
    return alignment.getInt();
  return cast<ShapedType>(port.getType()).getElementTypeBitWidth() / 8;
}

StridedLayoutAttr StepOp::getLayout(Value port) {
  return getPortAttrDict(port).getAs<StridedLayoutAttr>(layoutName);
}

bool StepOp::isOptional(Value port) {
  return getPortAttrDict(port).contains(optionalName);
}

bool StepOp::isInOut(Value port) {
  return getPortAttrDict(port).contains(inOutName);
}

std::optional<int64_t> StepOp::getExpected(Value port) {
  auto expected = getPortAttrDict(port).getAs<IntegerAttr>(expectedName);
  return expected ? std::optional<int64_t>(expected.getInt()) : std::nullopt;
}

SmallVector<Port> StepOp::getPorts() {
  return llvm::map_to_vector(getBody().getArguments(), [&](BlockArgument port) {
    unsigned number = port.getArgNumber();
    Port result = {cast<StringAttr>(getPortNames()[number]),
                   {},
                   {},
                   getPortAttrDict(port)};
    auto extents = cast<DenseI64ArrayAttr>(getExtents()[number]);
    llvm::append_range(result.extents, extents.asArrayRef());
    for (int64_t dim = 0; dim < extents.size(); ++dim)
      result.offsets.push_back(getExtentOffset(port, dim));
    return result;
  });
}

void StepOp::setPorts(Properties &properties, MLIRContext *context,
                      ArrayRef<Port> ports) {
  Builder b(context);
  SmallVector<Attribute> names, extents, offsets, attrs;
  for (const Port &port : ports) {
    names.push_back(port.name);
    extents.push_back(b.getDenseI64ArrayAttr(port.extents));
    offsets.push_back(b.getDenseI64ArrayAttr(port.offsets));
    attrs.push_back(port.attrs);
  }
  properties.port_names = b.getArrayAttr(names);
  properties.extents = b.getArrayAttr(extents);
  bool hasOffsets = llvm::any_of(ports, [](const Port &port) {
    return llvm::any_of(port.offsets,
                        [](int64_t offset) { return offset != 0; });
  });
  properties.extent_offsets =
      hasOffsets ? b.getArrayAttr(offsets) : ArrayAttr();
  bool hasAttrs =
      llvm::any_of(ports, [](const Port &port) { return !port.attrs.empty(); });
  properties.port_attrs = hasAttrs ? b.getArrayAttr(attrs) : ArrayAttr();
}

BlockArgument StepOp::addInOutPort(StringRef name, MemRefType type,
                                   Location loc) {
  Builder b(getContext());
  StringAttr free = b.getStringAttr(name);
  for (unsigned number = 1; llvm::is_contained(getPortNames(), free); ++number)
    free = b.getStringAttr(name + Twine(number));
  SmallVector<Port> ports = getPorts();
  NamedAttribute isInOut = b.getNamedAttr(inOutName, b.getUnitAttr());
  ports.push_back({free, {}, {}, b.getDictionaryAttr(isInOut)});
  setPorts(ports);
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

  SmallVector<ParsedPort, 0> parsed;
  if (parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Paren, [&] {
        return parsePort(parser, parsed.emplace_back());
      }))
    return failure();

  SmallVector<Port> ports;
  SmallVector<OpAsmParser::Argument> arguments;
  for (ParsedPort &port : parsed) {
    arguments.push_back(port.argument);
    ports.push_back({b.getStringAttr(port.argument.ssaName.name.drop_front()),
                     {},
                     port.offsets,
                     port.attrs.getDictionary(b.getContext())});
    for (auto &extent : port.extents) {
      auto *it = llvm::find_if(parsed, [&](ParsedPort &other) {
        return extent && other.argument.ssaName.name == extent->name;
      });
      if (extent && it == parsed.end())
        return parser.emitError(extent->location)
               << "expected the extent '" << extent->name
               << "' to be a port of the step";
      ports.back().extents.push_back(extent ? it - parsed.begin() : -1);
    }
  }
  setPorts(result.getOrAddProperties<Properties>(), b.getContext(), ports);

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
    p.printOptionalAttrDict(getPortAttrDict(port).getValue(),
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

/// Where `expect` has the error at a port, as if it were of the step.
static auto at(BlockArgument port) {
  return [port] { return emitError(port.getLoc()) << "'nsa.step' op "; };
}

/// Whether arrays of rank 1 or 2 have such strides: rows are contiguous.
static bool areStrides(ArrayRef<int64_t> strides) {
  return llvm::all_of(strides,
                      [](int64_t stride) {
                        return ShapedType::isDynamic(stride) || stride > 0;
                      }) &&
         (strides.size() != 2 || strides.back() == 1);
}

static bool expectIn(BlockArgument port) {
  Type type = port.getType();
  return expect(at(port), isRead(type), // (C2)
                "'in' port '", StepOp::getPortName(port),
                "' to be an index or a tensor of rank 1 or 2 of i8, i16, i32, "
                "i64, bf16 or f32, but got ",
                type);
}

static bool expectOut(BlockArgument port) {
  auto type = cast<MemRefType>(port.getType());
  SmallVector<int64_t> strides;
  int64_t offset;
  bool isRight = isDestination(type) && !type.getMemorySpace() &&
                 succeeded(type.getStridesAndOffset(strides, offset)) &&
                 offset == 0 && areStrides(strides);
  return expect(at(port), isRight, // (C3)
                "'out' port '", StepOp::getPortName(port),
                "' to be a memref of rank 1 or 2 of i8, i16, i32, i64, bf16 or "
                "f32 with a strided layout without offset and, for rank 2, an "
                "inner stride of 1, but got ",
                type);
}

static bool expectExtents(StepOp step, BlockArgument port) {
  auto extents = cast<DenseI64ArrayAttr>(step.getExtents()[port.getArgNumber()])
                     .asArrayRef();
  auto set = dyn_cast<MetadataType>(port.getType());
  auto type = dyn_cast<RankedTensorType>(port.getType());
  if (extents.empty() && !set)
    return true;
  StringRef name = StepOp::getPortName(port);
  if (set) {
    unsigned count = getNumMetadataSizes(set.getMode());
    if (!expect(at(port), // (C4)
                extents.size() == count && !llvm::is_contained(extents, -1),
                "the ", count, " sizes of a ",
                stringifyMetadataMode(set.getMode()), " set on port '", name,
                "', but got ", extents.size()))
      return false;
  } else if (!expect(at(port), // (C4)
                     type && size_t(type.getRank()) == extents.size(),
                     "one extent for each dimension of port '", name,
                     "', but got ", extents.size(), " for ", port.getType())) {
    return false;
  }
  auto isSize = [&](int64_t number) {
    return number < step.getBody().getNumArguments() &&
           step.getBody().getArgument(number).getType().isIndex();
  };
  return llvm::all_of(llvm::enumerate(extents), [&](auto extent) { // (C4)
    auto [dim, number] = extent;
    int64_t offset = StepOp::getExtentOffset(port, dim);
    return number < 0 ||
           (expect(at(port), isSize(number), "extent ", dim, " of port '", name,
                   "' to be an index port") &&
            expect(at(port), offset == 0 || (offset > 0 && !set), "extent ",
                   dim, " of port '", name, "' to add ",
                   set ? "nothing" : "0 or more", ", but got ", offset) &&
            expect(at(port), !type || type.isDynamicDim(dim), "dimension ", dim,
                   " of port '", name,
                   "' to be dynamic because it has an extent, but got ", type));
  });
}

/// Whether `attr` is an integer from `least` to `most`.
static bool isNumber(Attribute attr, int64_t least, int64_t most) {
  auto number = dyn_cast<IntegerAttr>(attr);
  return number && number.getInt() >= least && number.getInt() <= most;
}

static bool expectPortAttr(BlockArgument port, NamedAttribute attr) {
  StringRef key = attr.getName();
  Attribute value = attr.getValue();
  auto type = dyn_cast<ShapedType>(port.getType());
  auto expectValue = [&](bool isRight, StringRef what, StringRef wanted) {
    if (isa<UnitAttr>(value))
      return expect(at(port), isRight, what, " '", StepOp::getPortName(port),
                    "' to be ", wanted);
    return expect(at(port), isRight, what, " '", StepOp::getPortName(port),
                  "' to be ", wanted, ", but got ", value);
  };
  if (key == optionalName)
    return expectValue(
        StepOp::isOut(port.getType()) && isa<UnitAttr>(value), // (C9)
        "port",
        "written, because it is optional: what is read has to be there");
  if (key == inOutName)
    return expectValue(
        isa<MemRefType>(port.getType()) && isa<UnitAttr>(value) &&
            !StepOp::isOptional(port), // (C10)
        "'inout' port", "one array that is there, because it is read");
  if (key == expectedName)
    return expectValue(
        port.getType().isIndex() && isNumber(value, 0, INT32_MAX), // (C13)
        "what is 'expected' of port", "a number from 0 to 2^31-1, on an index");
  if (key == alignmentName)
    return expectValue(
        type && isNumber(value, type.getElementTypeBitWidth() / 8, 1 << 20) &&
            llvm::isPowerOf2_64(cast<IntegerAttr>(value).getInt()), // (C7)
        "the alignment of port",
        "a power of 2 from the size of an element to 2^20");
  auto layout = dyn_cast<StridedLayoutAttr>(value);
  if (key == layoutName)
    return expectValue(
        isa<RankedTensorType>(port.getType()) && layout &&
            layout.getOffset() == 0 &&
            layout.getStrides().size() == size_t(type.getRank()) &&
            areStrides(layout.getStrides()), // (C7)
        "the layout of port",
        "strided, on a tensor, with a stride for each dimension, no offset "
        "and, for rank 2, an inner stride of 1");
  return expect(at(port), false, // (C7)
                "'alignment', 'layout' or 'expected' on port '",
                StepOp::getPortName(port), "', but got '", key, "'");
}

LogicalResult StepOp::verify() {
  Block &block = getBody().front();
  size_t count = block.getNumArguments();
  auto isPerPort = [&](std::optional<ArrayAttr> attr) {
    return !attr || attr->size() == count;
  };
  if (!expectName(*this, "the step", getSymName(), NameOf::Step) || // (C1)
      !expect(*this,                                                // (C1)
              isPerPort(getPortNames()) && isPerPort(getExtents()) &&
                  isPerPort(getExtentOffsets()) && isPerPort(getPortAttrs()),
              count,
              " port names and lists of extents, one for each port, but got ",
              getPortNames().size(), " and ", getExtents().size()))
    return failure();
  llvm::StringSet<> names;
  return success(llvm::all_of(block.getArguments(), [&](BlockArgument port) {
    StringRef name = getPortName(port);
    Type type = port.getType();
    return expectName(at(port), "a port", name, NameOf::Port) && // (C1)
           expect(at(port), names.insert(name).second,           // (C1)
                  "port names to be unique, but got '", name, "' twice") &&
           (isa<MemRefType>(type) ? expectOut(port)
                                  : isOut(type) || expectIn(port)) &&
           llvm::all_of(getPortAttrDict(port),
                        [&](NamedAttribute attr) {
                          return expectPortAttr(port, attr);
                        }) &&
           expectExtents(*this, port);
  }));
}

bool StepOp::expectDestinations(Operation *copy, ValueRange destinations) {
  llvm::SmallPtrSet<Value, 16> seen;
  return expect(copy, !destinations.empty(),
                "at least one destination") && // (C2)
         llvm::all_of(destinations, [&](Value destination) {
           auto port = dyn_cast<BlockArgument>(destination);
           return expect(copy, // (C1)
                         port && port.getOwner() == &getBody().front(),
                         "every destination to be an 'out' port of the step") &&
                  expect(copy, seen.insert(destination).second, // (C2)
                         "each destination once, but got '", getPortName(port),
                         "' twice");
         });
}

/// Checks a read of an array that is written: constraint C11.
static bool expectRead(ReadOp read) {
  auto port = dyn_cast<BlockArgument>(read.getSource());
  if (!port || !StepOp::isOut(port.getType()))
    return true;
  std::string name = ("'" + StepOp::getPortName(port) + "'").str();
  auto map = dyn_cast<MapOp>(read->getParentOp());
  return expect(read, StepOp::isInOut(port), "port ", name,
                " to be 'in' or 'inout', because it is read") &&
         expect(read, bool(map), "a read of 'inout' port ", name,
                " to be in an 'nsa.map', which reads an element once") &&
         expect(read, llvm::equal(read.getIndices(), map.getArguments()),
                "the indices of the 'nsa.map' itself, because other elements "
                "of 'inout' port ",
                name, " may have been written before this read") &&
         llvm::all_of(map->getUsers(), [&](Operation *user) {
           auto copy = dyn_cast<CopyOp>(user);
           return expect(read,
                         copy && copy.getValue() == map.getResult() &&
                             copy.getMask() != map.getResult() &&
                             copy.getDestinations() == ValueRange(port),
                         "its 'nsa.map' to be stored to 'inout' port ", name,
                         " and used nowhere else, because what reads it "
                         "elsewhere may do so after it was written") &&
                  expect(read, copy.getPlaces().empty(),
                         "its 'nsa.map' to be stored without 'at', because "
                         "another read of 'inout' port ",
                         name, " may come after such a store");
         });
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
  auto expectOp = [](Operation &op) { // (C6)
    return isa<LaunchOp, CopyOp, CopyMetadataOp>(op) || isValue(&op) ||
           succeeded(verifySize(&op));
  };
  auto expectReadOf = [&](ReadOp read) { return expectRead(read); };
  if (!expectEach<ReadOp>(*this, expectReadOf) ||
      !llvm::all_of(body, expectOp) || failed(verifyValues(body)) || // (C8)
      !llvm::all_of(body.getOps<CopyOp>(),
                    [](CopyOp copy) { return copy.expectElements(); }))
    return failure();

  DenseMap<Value, Operation *> writers;
  auto expectWriter = [&](Operation *copy) { // (C5)
    for (Value destination : getWritten(copy)) {
      auto [it, inserted] = writers.try_emplace(destination, copy);
      if (inserted || it->second == copy)
        continue;
      InFlightDiagnostic diag =
          copy->emitOpError() << "writes to port '" << getPortName(destination)
                              << "', which another copy writes to";
      diag.attachNote(it->second->getLoc()) << "the other copy is here";
      return false;
    }
    return true;
  };
  auto expectStored = [&](ScanOp scan) { // (C12)
    Value sums = scan.getSums();
    if (!sums)
      return true;
    auto copy = dyn_cast_or_null<CopyOp>(writers.lookup(sums));
    if (!expect(scan,
                copy && isInOut(sums) && copy.isPlain() &&
                    copy.getFrom() == 0 &&
                    copy.getValue().getDefiningOp<TileSumsOp>(),
                "its stored sums to be an 'inout' port that an "
                "'nsa.tile_sums' is copied to"))
      return false;
    auto reader = scan->getParentOfType<LaunchOp>();
    auto before = copy->getParentOfType<LaunchOp>();
    return expect(scan,
                  reader && before ? before->isBeforeInBlock(reader)
                                   : !reader && !before,
                  "the launch that stores its sums to come before, because "
                  "blocks of one launch do not wait for one another");
  };
  auto expectWritten = [&](BlockArgument port) { // (C5)
    return expect(at(port), !isOut(port.getType()) || writers.contains(port),
                  "a copy to 'out' port '", getPortName(port),
                  "', which nothing writes");
  };
  return success(expectEach<Operation *>(*this, expectWriter) &&
                 expectEach<ScanOp>(*this, expectStored) &&
                 llvm::all_of(body.getArguments(), expectWritten));
}
