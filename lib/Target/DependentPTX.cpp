//===- DependentPTX.cpp - Whether emitted kernels wait first --------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PTXTarget.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"

using namespace nsa;

/// `ptx` with blanks for comments.
static std::string withoutComments(std::string ptx) {
  for (size_t at = 0; (at = ptx.find('/', at)) != std::string::npos; ++at) {
    StringRef rest = StringRef(ptx).drop_front(at);
    size_t size = rest.starts_with("//")   ? rest.find('\n')
                  : rest.starts_with("/*") ? rest.find("*/") + 2
                                           : 0;
    for (size_t i = at; i < std::min(ptx.size(), at + size); ++i)
      if (ptx[i] != '\n')
        ptx[i] = ' ';
  }
  return ptx;
}

/// What an instruction may not do before the wait, or nothing.
static StringRef getHazard(StringRef opcode) {
  llvm::SmallVector<StringRef> parts;
  opcode.split(parts, '.');
  auto has = [&](StringRef part) {
    return llvm::any_of(parts,
                        [&](StringRef each) { return each.starts_with(part); });
  };
  if (parts[0] == "ret" || parts[0] == "exit")
    return "an end";
  if (parts[0] == "call")
    return "a call";
  if (parts[0] == "bra" || parts[0] == "brx")
    return "a jump";
  static constexpr StringRef accesses[] = {
      "ld", "ldu",      "st",      "atom",          "red",
      "cp", "prefetch", "discard", "applypriority", "multimem"};
  if (!llvm::is_contained(accesses, parts[0]))
    return {};
  // Without a space it is generic. A copy has two.
  bool isLocal = has("param") || has("shared") || has("local") || has("const");
  return has("global") || !isLocal ? "an access to global memory" : "";
}

std::optional<std::string> nsa::findAccessBeforeWait(StringRef ptx,
                                                     StringRef name) {
  std::string text = withoutComments(ptx.str());
  size_t at = text.find((".entry " + name + "(").str());
  size_t begin = at == std::string::npos ? at : text.find('{', at);
  if (begin == std::string::npos)
    return "there is no such kernel";
  auto isOfName = [](char c) {
    return llvm::isAlnum(c) || c == '_' || c == '$';
  };
  unsigned depth = 0;
  bool waits = false;
  for (StringRef rest = StringRef(text).drop_front(begin); !rest.empty();
       rest = rest.ltrim()) {
    if (rest.consume_front("{")) {
      ++depth;
      continue;
    }
    if (rest.consume_front("}")) {
      if (--depth == 0)
        break;
      continue;
    }
    StringRef behind = rest.drop_while(isOfName).ltrim();
    if (isOfName(rest.front()) && behind.consume_front(":") &&
        !behind.starts_with(":")) { // a label
      rest = behind;
      continue;
    }
    // The one directive that ends with its line.
    auto [statement, after] = rest.split(rest.starts_with(".loc") ? '\n' : ';');
    rest = after;
    StringRef instruction = statement.rtrim();
    bool isGuarded = instruction.consume_front("@");
    if (isGuarded)
      instruction = instruction.drop_until(llvm::isSpace).ltrim();
    StringRef opcode = instruction.take_until(llvm::isSpace);
    StringRef hazard = waits ? StringRef() : getHazard(opcode);
    if (opcode.starts_with("ld") && opcode.contains(".nc"))
      hazard = "a load through the read-only path";
    waits |= opcode == "griddepcontrol.wait" && !isGuarded;
    if (!hazard.empty())
      return ("PTX line " +
              llvm::Twine(1 + StringRef(text)
                                  .take_front(statement.data() - text.data())
                                  .count('\n')) +
              ": " + hazard + (waits ? "" : " before griddepcontrol.wait") +
              ": " + instruction)
          .str();
  }
  if (!waits)
    return "it does not wait";
  return std::nullopt;
}
