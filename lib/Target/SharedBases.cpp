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
#include "llvm/Support/raw_ostream.h"

using namespace nsa;

/// The name that a line declares an array in shared memory by, or nothing.
static StringRef getDeclared(StringRef line) {
  if (!line.ltrim().starts_with(".shared "))
    return {};
  return line.take_front(line.find('[')).rsplit(' ').second;
}

/// The place after `name` where it stands in `line`, as a whole word.
static std::optional<size_t> findEnd(StringRef line, StringRef name) {
  size_t at = line.find(name);
  if (at == StringRef::npos)
    return std::nullopt;
  size_t end = at + name.size();
  bool isLonger =
      end < line.size() && (llvm::isAlnum(line[end]) || line[end] == '_');
  return isLonger ? std::nullopt : std::optional(end);
}

/// `line` with `base` in the place of `name`.
static std::string replace(StringRef line, StringRef name, StringRef base) {
  std::optional<size_t> end = findEnd(line, name);
  if (!end)
    return line.str();
  StringRef before = line.take_front(*end - name.size());
  StringRef after = line.drop_front(*end);
  auto [opcode, operands] = llvm::getToken(before);
  if (opcode == "mov.b64" && after.consume_front("+"))
    return llvm::formatv("\tadd.s64 {0}{1}, {2}", operands, base, after);
  return (before + base + after).str();
}

/// The same with the body of a kernel, from its declarations on.
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
    if (llvm::count_if(code, [&, name = StringRef(name)](StringRef line) {
          return findEnd(line, name).has_value();
        }) < 2)
      continue;
    std::string base = llvm::formatv("%wg{0}", number);
    for (std::string &line : code)
      line = replace(line, name, base);
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
