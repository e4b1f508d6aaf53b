//===- ShortBounds.cpp - Bounds of 16 bits are computed with 32 -----------===//
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

static bool isShortBound(StringRef opcode) {
  return opcode == "max.s16" || opcode == "max.u16" || opcode == "min.s16" ||
         opcode == "min.u16";
}

std::string nsa::widenShortBounds(StringRef ptx) {
  std::string text;
  llvm::raw_string_ostream out(text);
  // An instruction has a line of its own, and keeps its number.
  while (!ptx.empty()) {
    size_t end = std::min(ptx.find('\n'), ptx.size() - 1) + 1;
    StringRef line = ptx.take_front(end);
    ptx = ptx.drop_front(end);
    auto [opcode, operands] = llvm::getToken(line);
    if (!isShortBound(opcode)) {
      out << line;
      continue;
    }
    auto [result, sources] = operands.split(',');
    auto [a, b] =
        sources.take_until([](char c) { return c == ';'; }).split(',');
    out << llvm::formatv("\t{{ .reg .b32 %a, %b; cvt.{1}32.{1}16 %a, {2}; "
                         "cvt.{1}32.{1}16 %b, {3}; {0}.{1}32 %a, %a, %b; "
                         "cvt.u16.u32 {4}, %a; }\n",
                         opcode.take_front(3), opcode.substr(4, 1), a.trim(),
                         b.trim(), result.trim());
  }
  return text;
}
