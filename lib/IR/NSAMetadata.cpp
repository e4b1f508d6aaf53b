//===- NSAMetadata.cpp - Sets of metadata fields --------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "nsa/IR/Metadata.h"

#include "mlir/IR/DialectImplementation.h"

using namespace mlir;
using namespace nsa;

//===----------------------------------------------------------------------===//
// Fields
//===----------------------------------------------------------------------===//

ArrayRef<MetadataField> nsa::getMetadataFields() {
  using Size = MetadataSize;
  static const MetadataDim requests[] = {{Size::Requests}},
                           requestsEnd[] = {{Size::Requests, 1}},
                           rows[] = {{Size::Rows}},
                           rowsEnd[] = {{Size::Rows, 1}},
                           table[] = {{Size::TableRows}, {Size::Columns}},
                           real[] = {{Size::TableRows}, {Size::Own}},
                           whole[] = {{Size::Own}};
  // Element 0 of a cumulative sum is 0 since it was allocated.
  static const MetadataField fields[] = {
      {"cache_seqlens", false, requests, 0, false},
      {"cu_seqlens_k", false, requestsEnd, 1, false},
      {"seqlens_expanded", false, rows, 0, false},
      {"nsa_cache_seqlens", false, rows, 0, false},
      {"nsa_cu_seqlens_k", false, rowsEnd, 1, false},
      {"page_table_1", false, table, 0, false},
      {"real_page_table", true, real, 0, false},
      {"flashmla_num_splits", true, rowsEnd, 0, false},
      {"flashmla_metadata", true, whole, 0, true},
  };
  return fields;
}

uint32_t nsa::getAllMetadataFields(MetadataMode mode) {
  uint32_t fields = 0;
  for (auto [number, field] : llvm::enumerate(getMetadataFields()))
    // Decode has one row for each request: the lengths are the expanded ones.
    if (mode != MetadataMode::Decode || field.name != "seqlens_expanded")
      fields |= 1u << number;
  return fields;
}

uint32_t nsa::getDefaultMetadataFields(MetadataMode mode) {
  uint32_t fields = getAllMetadataFields(mode);
  for (auto [number, field] : llvm::enumerate(getMetadataFields()))
    if (field.isOptional)
      fields &= ~(1u << number);
  return fields;
}

//===----------------------------------------------------------------------===//
// Assembly
//===----------------------------------------------------------------------===//

ParseResult nsa::parseMetadataSet(AsmParser &parser, MetadataMode &mode,
                                  uint32_t &fields) {
  StringRef keyword;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&keyword))
    return failure();
  std::optional<MetadataMode> parsed = symbolizeMetadataMode(keyword);
  if (!parsed)
    return parser.emitError(loc) << "expected a mode (decode, target_verify or "
                                    "draft_extend) but got '"
                                 << keyword << "'";
  mode = *parsed;
  fields = getDefaultMetadataFields(mode);
  if (failed(parser.parseOptionalComma()))
    return success();
  if (succeeded(parser.parseOptionalKeyword("only")))
    fields = 0;
  uint32_t named = 0;
  auto parseField = [&]() -> ParseResult {
    SMLoc loc = parser.getCurrentLocation();
    StringRef name;
    if (parser.parseKeyword(&name))
      return failure();
    const auto *it =
        llvm::find_if(getMetadataFields(), [&](const MetadataField &field) {
          return field.name == name;
        });
    if (it == getMetadataFields().end())
      return parser.emitError(loc)
             << "expected a field but got '" << name << "'";
    uint32_t bit = 1u << (it - getMetadataFields().begin());
    if (!(getAllMetadataFields(mode) & bit))
      return parser.emitError(loc)
             << "expected a field that " << stringifyMetadataMode(mode)
             << " has, but got '" << name << "'";
    if (named & bit)
      return parser.emitError(loc)
             << "expected each field once, but got '" << name << "' twice";
    named |= bit;
    return success();
  };
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseField))
    return failure();
  fields |= named;
  return success();
}

void nsa::printMetadataSet(AsmPrinter &printer, MetadataMode mode,
                           uint32_t fields) {
  printer << stringifyMetadataMode(mode);
  uint32_t byDefault = getDefaultMetadataFields(mode);
  bool hasDefault = (fields & byDefault) == byDefault;
  uint32_t listed = hasDefault ? fields & ~byDefault : fields;
  if (!hasDefault || listed) {
    printer << (hasDefault ? ", [" : ", only [");
    StringRef separator;
    for (auto [number, field] : llvm::enumerate(getMetadataFields()))
      if (listed & (1u << number)) {
        printer << separator << field.name;
        separator = ", ";
      }
    printer << ']';
  }
}

//===----------------------------------------------------------------------===//
// Copies
//===----------------------------------------------------------------------===//

LogicalResult CopyMetadataOp::verify() {
  auto step = cast<StepOp>((*this)->getParentOp());
  auto sourcePort = dyn_cast<BlockArgument>(getSource());
  MetadataType source = getSource().getType();
  auto expectDestination = [&](Value destination) {
    StringRef name = StepOp::getPortName(destination);
    auto type = cast<MetadataRefType>(destination.getType());
    uint32_t missing = type.getFields() & ~source.getFields();
    StringRef field =
        missing ? getMetadataFields()[llvm::countr_zero(missing)].name : "";
    return expect(*this, type.getMode() == source.getMode(), // (C3)
                  "destination '", name, "' to have mode ",
                  stringifyMetadataMode(source.getMode()), " but got ",
                  stringifyMetadataMode(type.getMode())) &&
           expect(*this, !missing, // (C4)
                  "the source to have field '", field, "', which destination '",
                  name, "' has, but got ", source);
  };
  return success(
      expect(*this, // (C1)
             sourcePort && sourcePort.getOwner() == &step.getBody().front(),
             "an 'in' port as its source") &&
      step.expectDestinations(*this, getDestinations()) &&
      llvm::all_of(getDestinations(), expectDestination));
}
