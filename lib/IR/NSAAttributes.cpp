//===- NSAAttributes.cpp - Layouts of caches ------------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/IR/NSADialect.h"

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace nsa;

#define GET_ATTRDEF_CLASSES
#include "nsa/IR/NSAAttributes.cpp.inc"

void NSADialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "nsa/IR/NSAAttributes.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

namespace {
struct NamedLayout {
  StringLiteral name;
  StringLiteral text;
};
} // namespace

static constexpr NamedLayout namedLayouts[] = {
#define NSA_KV_LAYOUT(name, text) {#name, "#nsa.kv_layout<" text ">"},
#include "nsa/IR/KVLayouts.def"
};

KVLayoutAttr KVLayoutAttr::getNamed(MLIRContext *context, StringRef name) {
  for (const NamedLayout &layout : namedLayouts)
    if (layout.name == name)
      return cast<KVLayoutAttr>(parseAttribute(layout.text, context));
  return {};
}

StringRef KVLayoutAttr::getName() {
  for (const NamedLayout &layout : namedLayouts)
    if (getNamed(getContext(), layout.name) == *this)
      return layout.name;
  return {};
}

//===----------------------------------------------------------------------===//
// Assembly
//===----------------------------------------------------------------------===//

/// run ::= type `[` count `]` `at` offset
static ParseResult parseRun(AsmParser &parser, KVRun &run) {
  StringRef name;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&name))
    return failure();
  std::optional<KVType> type = symbolizeKVType(name);
  if (!type)
    return parser.emitError(loc)
           << "expected a type, one of e4m3, bf16, f32 and ue8m0, but got '"
           << name << "'";
  run.type = *type;
  return failure(parser.parseLSquare() || parser.parseInteger(run.count) ||
                 parser.parseRSquare() || parser.parseKeyword("at") ||
                 parser.parseInteger(run.offset));
}

/// The body of a layout, after its first keyword, `data_bytes`.
static Attribute parseBody(AsmParser &parser, SMLoc loc) {
  int64_t dataBytes, group, footerBytes = 0, pageMultiple = 1;
  SmallVector<KVRun> fields;
  KVRun scales;
  if (parser.parseEqual() || parser.parseInteger(dataBytes) ||
      parser.parseComma() || parser.parseKeyword("fields") ||
      parser.parseEqual() ||
      parser.parseCommaSeparatedList(
          AsmParser::Delimiter::Square,
          [&] { return parseRun(parser, fields.emplace_back()); }) ||
      parser.parseComma() || parser.parseKeyword("scales") ||
      parser.parseEqual() || parseRun(parser, scales) ||
      parser.parseKeyword("per") || parser.parseInteger(group))
    return {};
  if (failed(parser.parseOptionalKeyword("inline"))) {
    if (parser.parseKeyword("footer", " or 'inline'"))
      return {};
    SMLoc footerLoc = parser.getCurrentLocation();
    if (parser.parseInteger(footerBytes))
      return {};
    if (footerBytes < 1) {
      parser.emitError(footerLoc) // (C5)
          << "expected 1 or more bytes of footer but got " << footerBytes;
      return {};
    }
  }
  if (succeeded(parser.parseOptionalComma()) &&
      (parser.parseKeyword("page_multiple") || parser.parseEqual() ||
       parser.parseInteger(pageMultiple)))
    return {};
  if (parser.parseGreater())
    return {};
  return parser.getChecked<KVLayoutAttr>(loc, parser.getContext(), dataBytes,
                                         fields, scales, group, footerBytes,
                                         pageMultiple);
}

Attribute KVLayoutAttr::parse(AsmParser &parser, Type) {
  StringRef name;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseKeyword(&name))
    return {};
  if (name == "data_bytes")
    return parseBody(parser, loc);
  KVLayoutAttr layout = getNamed(parser.getContext(), name);
  if (!layout) {
    InFlightDiagnostic diag = parser.emitError(loc)
                              << "expected 'data_bytes' or the name of a "
                                 "layout, one of ";
    llvm::interleaveComma(namedLayouts, diag, [&](const NamedLayout &layout) {
      diag << layout.name;
    });
    diag << ", but got '" << name << "'";
    return {};
  }
  if (parser.parseGreater())
    return {};
  return layout;
}

static void printRun(AsmPrinter &printer, const KVRun &run) {
  printer << stringifyKVType(run.type) << '[' << run.count << "] at "
          << run.offset;
}

void KVLayoutAttr::print(AsmPrinter &printer) const {
  printer << "<data_bytes = " << getDataBytes() << ", fields = [";
  llvm::interleaveComma(getFields(), printer,
                        [&](const KVRun &run) { printRun(printer, run); });
  printer << "], scales = ";
  printRun(printer, getScales());
  printer << " per " << getGroup();
  if (getFooterBytes() == 0)
    printer << " inline";
  else
    printer << " footer " << getFooterBytes();
  printer << ", page_multiple = " << getPageMultiple() << '>';
}

//===----------------------------------------------------------------------===//
// Verification
//===----------------------------------------------------------------------===//

/// Each column is looked for among all fields, so code grows with their number.
static constexpr size_t mostFields = 32;

int64_t KVLayoutAttr::getRowSize() {
  int64_t size = 0;
  for (const KVRun &field : getFields())
    size += field.count;
  return size;
}

LogicalResult KVLayoutAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                   int64_t dataBytes, ArrayRef<KVRun> fields,
                                   KVRun scales, int64_t group,
                                   int64_t footerBytes, int64_t pageMultiple) {
  auto inRange = [](int64_t value, int64_t least) {
    return value >= least && value <= std::numeric_limits<int32_t>::max();
  };
  auto expectRun = [&](const KVRun &run, StringRef what, KVType type,
                       KVType other) { // (C1)
    return expect(emitError, run.type == type || run.type == other, what,
                  " of type ", stringifyKVType(type), " or ",
                  stringifyKVType(other), " but got ",
                  stringifyKVType(run.type)) &&
           expect(emitError, inRange(run.count, 1) && inRange(run.offset, 0),
                  "counts from 1 and offsets from 0 to 2^31-1");
  };
  if (!expect(emitError, // (C5)
              inRange(dataBytes, 1) && inRange(pageMultiple, 1) &&
                  inRange(footerBytes, 0) && inRange(group, 1),
              "bytes, group and page multiple from 1 to 2^31-1") ||
      !expect(emitError, !fields.empty() && fields.size() <= mostFields, // (C1)
              "1 to ", mostFields, " fields, but got ", fields.size()))
    return failure();

  int64_t groups = 0;
  for (const KVRun &field : fields) {
    bool isScaled = field.type == KVType::E4M3;
    if (!expectRun(field, "fields", KVType::E4M3, KVType::BF16) ||
        !expect(emitError, field.getEnd() <= dataBytes, // (C2)
                "fields inside of the ", dataBytes,
                " bytes of data, but one ends at byte ", field.getEnd()) ||
        !expect(emitError, !isScaled || field.count % group == 0, // (C4)
                "the group of ", group,
                " to divide the count of e4m3 fields, but got ", field.count))
      return failure();
    groups += isScaled ? field.count / group : 0;
  }

  int64_t space = footerBytes == 0 ? dataBytes : footerBytes;
  if (!expectRun(scales, "scales", KVType::F32, KVType::UE8M0) ||
      !expect(emitError, scales.count == groups, // (C4)
              "a scale for each of the ", groups, " groups but got ",
              scales.count) ||
      !expect(emitError, scales.getEnd() <= space, // (C2)
              "scales inside of the ", space, " bytes of ",
              footerBytes == 0 ? "data" : "a footer entry",
              ", but they end at byte ", scales.getEnd()))
    return failure();

  SmallVector<KVRun> runs(fields);
  if (footerBytes == 0)
    runs.push_back(scales);
  llvm::sort(runs, [](const KVRun &lhs, const KVRun &rhs) {
    return lhs.offset < rhs.offset;
  });
  for (auto [lhs, rhs] : llvm::zip(runs, llvm::drop_begin(runs)))
    if (!expect(emitError, rhs.offset >= lhs.getEnd(), // (C3)
                "fields and scales that do not overlap, but byte ", rhs.offset,
                " belongs to two of them"))
      return failure();
  return success();
}

//===----------------------------------------------------------------------===//
// Tilings
//===----------------------------------------------------------------------===//

LogicalResult TilingAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 TilingUnit unit, int64_t rows, int64_t columns,
                                 int64_t width, int64_t vectors, bool, bool,
                                 bool packed) {
  bool isTile = unit == TilingUnit::Tile;
  constexpr int64_t most = 1 << 20;
  auto inRange = [](int64_t value, int64_t most) {
    return value >= 1 && value <= most;
  };
  return success(
      expect(emitError, // (C1)
             inRange(rows, most) && inRange(vectors, mostVectors) &&
                 (isTile ? inRange(columns, most) : columns == 0),
             "'rows' from 1 to ", most, ", 'vectors' from 1 to ", mostVectors,
             " and, for '", stringifyTilingUnit(unit), "', 'columns' ",
             isTile ? "from 1 to " + std::to_string(most) : "of 0",
             ", but got ", rows, ", ", vectors, " and ", columns) &&
      expect(emitError,
             inRange(width, 16) && llvm::isPowerOf2_64(width), // (C2)
             "'width' to be a power of 2, at most 16, but got ", width) &&
      expect(emitError, // (C3)
             !packed || (isTile && columns % (vectors * width) == 0),
             "a 'packed' tile to have 'columns' of whole vectors, as many for "
             "each of a thread's"));
}
