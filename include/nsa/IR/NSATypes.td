//===- NSATypes.td - Sets of metadata fields ---------------*- tablegen -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_IR_NSATYPES_TD
#define NSA_IR_NSATYPES_TD

include "nsa/IR/NSADialect.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

def NSA_Decode : I32EnumAttrCase<"Decode", 0, "decode">;
def NSA_TargetVerify : I32EnumAttrCase<"TargetVerify", 1, "target_verify">;
def NSA_DraftExtend : I32EnumAttrCase<"DraftExtend", 2, "draft_extend">;
def NSA_MetadataMode : I32EnumAttr<"MetadataMode", "a forward mode",
                                   [NSA_Decode, NSA_TargetVerify,
                                    NSA_DraftExtend]> {
  let cppNamespace = "::nsa";
}

class NSA_MetadataTypeBase<string name, string typeMnemonic>
    : TypeDef<NSA_Dialect, name> {
  let mnemonic = typeMnemonic;
  // Bit i of `fields` stands for field i of nsa/IR/Metadata.h.
  let parameters = (ins "::nsa::MetadataMode":$mode, "uint32_t":$fields);
  let assemblyFormat = "`<` custom<MetadataSet>($mode, $fields) `>`";
}

def NSA_Metadata : NSA_MetadataTypeBase<"Metadata", "metadata"> {
  let summary = "A set of metadata fields that is read";
  let description = [{
    The arrays that a serving engine keeps for a forward mode, under one name.

    ```
    type ::= `!nsa.metadata` `<` mode (`,` `only`? `[` field (`,` field)* `]`)? `>`
    mode ::= `decode` | `target_verify` | `draft_extend`
    ```

    A set has every field of its mode that is not optional, and those optional
    ones that the list names; with `only`, it has those of the list and no
    others. With `m` the expanded size (`bs` in decode) and `rows` the rows of
    the source's table (`bs` in decode), a copy moves:

    | field | elements | optional |
    |---|---|---|
    | `cache_seqlens` | [bs] | |
    | `cu_seqlens_k` | [1 : bs + 1] | |
    | `seqlens_expanded` | [m]; not in decode | |
    | `nsa_cache_seqlens` | [m] | |
    | `nsa_cu_seqlens_k` | [1 : m + 1] | |
    | `page_table_1` | [rows, max_len]; [rows, max_seqlen_k] outside of decode | |
    | `real_page_table` | [rows, columns of the source] | yes |
    | `flashmla_num_splits` | [m + 1] | yes |
    | `flashmla_metadata` | all of the source, which is contiguous | yes |
  }];
}

def NSA_MetadataRef : NSA_MetadataTypeBase<"MetadataRef", "metadata_ref"> {
  let summary = "A set of metadata fields that is written";
  let description = [{
    As `!nsa.metadata`, for the arrays of a backend: vectors of any stride,
    tables of any row stride, `flashmla_metadata` contiguous. They may be larger
    than what is copied.
  }];
}

#endif // NSA_IR_NSATYPES_TD
