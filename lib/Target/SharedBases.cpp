//===- SharedBases.cpp - Where shared memory is, is found out once --------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "PTXTarget.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

using namespace nsa;

/// The name that a line declares an array in shared memory by, or nothing.
static StringRef getDeclared(StringRef line) {
  if (!line.ltrim().starts_with(".shared "))
    return {};
  return line.take_front(line.find('[')).rsplit(' ').second;
}

/// Where `line` names `name` and could have a register instead: as an address,
/// with a number added or not, or all of an operand.
static size_t findUse(StringRef line, StringRef name) {
  size_t at = line.find(name);
  if (at == StringRef::npos)
    return at;
  StringRef rest = line.drop_front(at + name.size());
  bool isAddress = line.take_front(at).ends_with("[");
  bool isWhole = rest.starts_with(isAddress ? "]" : ";");
  return isWhole || (isAddress && rest.starts_with("+")) ? at : StringRef::npos;
}

/// Lets the body of a kernel hold the addresses of what it names twice.
static void holdBases(SmallVectorImpl<std::string> &lines) {
  size_t first = 0;
  SmallVector<std::string> names;
  for (; first != lines.size(); ++first) {
    StringRef line = StringRef(lines[first]).ltrim();
    if (!line.starts_with(".") && !line.starts_with("//") &&
        !line.starts_with("{") && !line.empty())
      break;
    if (StringRef name = getDeclared(line); !name.empty())
      names.push_back(name.str());
  }
  auto code = MutableArrayRef(lines).drop_front(first);
  std::string bases;
  for (auto [number, name] : llvm::enumerate(names)) {
    SmallVector<std::pair<std::string *, size_t>> uses;
    for (std::string &line : code)
      if (size_t at = findUse(line, name); at != StringRef::npos)
        uses.emplace_back(&line, at);
    if (uses.size() < 2)
      continue;
    std::string base = llvm::formatv("%wg{0}", number);
    for (auto [line, at] : uses)
      line->replace(at, name.size(), base);
    bases += llvm::formatv("\t.reg .b64 \t{0};\n\tmov.b64 \t{0}, {1};\n", base,
                           name);
  }
  if (!bases.empty())
    lines.insert(lines.begin() + first, bases);
}

std::string nsa::holdSharedBases(StringRef ptx) {
  std::string text;
  SmallVector<std::string> body;
  bool isInBody = false;
  while (!ptx.empty()) {
    size_t end = std::min(ptx.find('\n'), ptx.size() - 1) + 1;
    StringRef line = ptx.take_front(end);
    ptx = ptx.drop_front(end);
    isInBody |= line.starts_with("{");
    if (!isInBody) {
      text += line;
      continue;
    }
    body.push_back(line.str());
    if (line.starts_with("}")) {
      holdBases(body);
      text += llvm::join(body, "");
      body.clear();
      isInBody = false;
    }
  }
  return text + llvm::join(body, "");
}
