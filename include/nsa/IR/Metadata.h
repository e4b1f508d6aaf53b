//===- Metadata.h - The fields of metadata sets -----------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_IR_METADATA_H
#define NSA_IR_METADATA_H

#include "nsa/IR/NSADialect.h"

namespace nsa {

/// What a dimension of a field has as its size.
enum class MetadataSize {
  Requests,  // bs
  Rows,      // seqlens_expanded_size; bs in decode
  TableRows, // bs in decode, else the source's own
  Columns,   // max_len, max_seqlen_k
  Own        // the source's own
};

struct MetadataDim {
  MetadataSize size;
  int64_t plus = 0;
};

/// One field of a set. Bit i of a set's type stands for field i.
struct MetadataField {
  StringLiteral name;
  /// A set has it only if its type names it.
  bool isOptional;
  /// Sizes of its dimensions.
  ArrayRef<MetadataDim> sizes;
  /// Elements before it are not copied.
  int64_t from;
  /// Its arrays have to be contiguous.
  bool isContiguous;
};

/// All fields, in the order in which a set's ports are expanded.
ArrayRef<MetadataField> getMetadataFields();

/// The fields that a set of this mode has without naming them.
uint32_t getDefaultMetadataFields(MetadataMode mode);
/// The fields that a set of this mode may have.
uint32_t getAllMetadataFields(MetadataMode mode);

/// How many sizes a source of this mode has: bs and columns, and outside of
/// decode the number of expanded rows.
/// `decode, [fields]`: the mode of a set and which fields it has.
mlir::ParseResult parseMetadataSet(mlir::AsmParser &parser, MetadataMode &mode,
                                   uint32_t &fields);
void printMetadataSet(mlir::AsmPrinter &printer, MetadataMode mode,
                      uint32_t fields);

inline unsigned getNumMetadataSizes(MetadataMode mode) {
  return mode == MetadataMode::Decode ? 2 : 3;
}

} // namespace nsa

#endif // NSA_IR_METADATA_H
