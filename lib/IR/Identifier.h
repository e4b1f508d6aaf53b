//===- Identifier.h - Names that everything takes ---------------*- C++ -*-===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef NSA_LIB_IR_IDENTIFIER_H
#define NSA_LIB_IR_IDENTIFIER_H

#include "nsa/IR/NSADialect.h"

namespace nsa {

/// What a name is given to. A step's lands in C, PTX and the names of files, a
/// port's in C and Python, a launch's in PTX.
enum class NameOf { Step = 1, Port = 2, Launch = 4 };

/// Why `name` cannot be used; empty if it can.
std::string getNameProblem(StringRef name, NameOf of);

/// Checks that it can. `owner`, what `expect` takes, has it for `what`.
template <typename Owner>
bool expectName(const Owner &owner, StringRef what, StringRef name, NameOf of) {
  std::string problem = getNameProblem(name, of);
  return expect(owner, problem.empty(), "another name for ", what, " than '",
                name, "', because ", problem);
}

} // namespace nsa

#endif // NSA_LIB_IR_IDENTIFIER_H
