//===- Identifier.h - Names that C and C++ take -----------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_IR_IDENTIFIER_H
#define NSA_LIB_IR_IDENTIFIER_H

#include "llvm/ADT/StringRef.h"

namespace nsa {

/// Whether generated C and C++ can use `name` as a name: an identifier that is
/// a keyword of neither.
bool isIdentifier(llvm::StringRef name);

} // namespace nsa

#endif // NSA_LIB_IR_IDENTIFIER_H
